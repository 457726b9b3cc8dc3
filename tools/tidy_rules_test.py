#!/usr/bin/env python3
"""Unit tests of the rules of the house: each rule finds a planted violation, and leaves the lawful form alone."""

import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(os.path.realpath(__file__)).parent))
sys.dont_write_bytecode = True
import tidy_rules  # noqa: E402
import xml_report  # noqa: E402


def rules_of(path, text, recorded=None):
    return sorted({f.rule for f in tidy_rules.check_text(path, text, recorded or {})})


def function_of(num_lines, name="F"):
    return f"int {name}(int a,\n      int b) {{\n" + "  ++a;\n" * (num_lines - 3) + "}\n"


class IncludeTest(unittest.TestCase):
    BAD = [
        ("base/rng.cc", "storage/kv_store.h"),
        ("base/rng.cc", "ursa/v1/datasets.pb.h"),
        ("storage/blobs.cc", "experiments/spec.h"),
        ("experiments/spec.cc", "storage/kv_store.h"),
        ("experiments/spec.cc", "base/clock.h"),
        ("experiments/spec.cc", "thread"),
        ("experiments/spec.cc", "absl/synchronization/mutex.h"),
        ("coordinator/commit.cc", "worker/nn/model.h"),
        ("coordinator/commit.cc", "storage/rocks_kv_store.h"),
        ("coordinator/state/state.cc", "coordinator/services/datasets_service.h"),
        ("coordinator/state/state.cc", "storage/kv_store.h"),
        ("coordinator/scheduling/gang.cc", "absl/time/clock.h"),
        ("worker/agent/agent.cc", "coordinator/commit.h"),
        ("worker/agent/agent.cc", "storage/kv_store.h"),
        ("worker/agent/agent.cc", "torch/torch.h"),
        ("worker/nn/model.cc", "worker/data/loader.h"),
        ("worker/train/trainer.cc", "ursa/worker/v1/task.pb.h"),
        ("worker/train/trainer.cc", "base/grpc_status.h"),
        ("worker/train/trainer.cc", "experiments/metrics.h"),
        ("worker/nn/model.h", "torch/torch.h"),
        ("worker/nn/model.cc", "c10/cuda/CUDAStream.h"),
        ("worker/nn/model.cc", "opencv2/core.hpp"),
        ("worker/task/run.cc", "jpeglib.h"),
        ("client/cli/main.cc", "coordinator/commit.h"),
        ("client/cli/dataset.cc", "grpcpp/grpcpp.h"),
        ("client/cli/dataset.cc", "ursa/v1/datasets.grpc.pb.h"),
        ("storage/blobs.cc", "rocksdb/db.h"),
        ("coordinator/commit.cc", "grpcpp/grpcpp.h"),
    ]
    GOOD = [
        ("base/rng.cc", "base/rng.h"),
        ("base/grpc_status.h", "grpcpp/support/status.h"),
        ("storage/rocks_kv_store.cc", "rocksdb/db.h"),
        ("storage/blobs.cc", "ursa/storage/v1/records.pb.h"),
        ("experiments/spec.cc", "ursa/v1/experiments.pb.h"),
        ("coordinator/main.cc", "storage/rocks_kv_store.h"),
        ("coordinator/commit.cc", "storage/kv_store.h"),
        ("coordinator/commit.cc", "absl/synchronization/mutex.h"),
        ("coordinator/services/datasets_service.cc", "grpcpp/grpcpp.h"),
        ("coordinator/state/state_test.cc", "base/clock.h"),
        ("worker/agent/grpc_coordinator_link.cc", "ursa/worker/v1/worker.grpc.pb.h"),
        ("worker/agent/cache.cc", "storage/blob_reader.h"),
        ("worker/data/jpeg.cc", "jpeglib.h"),
        ("worker/train/trainer.cc", "worker/nn/model.h"),
        ("worker/train/trainer.cc", "torch/torch.h"),
        ("worker/comm/cuda_plugin.cc", "torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp"),
        ("client/lib/connection.cc", "grpcpp/grpcpp.h"),
        ("tests/integration/loop_test.cc", "coordinator/commit.h"),
        ("worker/nn/model_test.cc", "tests/golden/cases.h"),
    ]

    def test_planted(self):
        for path, header in self.BAD:
            for form in (f'#include "{header}"\n', f"#include <{header}>\n"):
                with self.subTest(path=path, header=header):
                    self.assertIn("include", rules_of(path, form))

    def test_lawful(self):
        for path, header in self.GOOD:
            with self.subTest(path=path, header=header):
                self.assertEqual([], [f for f in tidy_rules.check_includes(path, f'#include "{header}"\n')])

    def test_a_comment_is_no_include(self):
        self.assertEqual([], rules_of("base/rng.cc", '/*\n#include "storage/kv_store.h"\n*/\n// #include "worker/x.h"\n'))

    def test_excused(self):
        text = '// tidy: allow(include) measures the store below our own\n#include "rocksdb/db.h"\n'
        self.assertEqual([], rules_of("storage/blobs.cc", text))
        self.assertEqual(["include"], rules_of("storage/blobs.cc", text.replace("allow(include)", "allow(print)")))
        self.assertEqual(["include"], rules_of("storage/blobs.cc", '#include "rocksdb/db.h"  // tidy: allow(include)\n'))


class BannedTest(unittest.TestCase):
    BAD = [
        ("rand", "experiments/split.cc", "int x = std::rand();"),
        ("rand", "experiments/split.cc", "srand(1);"),
        ("rand", "worker/train/trainer.cc", "std::random_device device;"),
        ("system", "client/cli/up.cc", 'std::system("ls");'),
        ("system", "client/cli/up.cc", 'FILE* f = popen("ls", "r");'),
        ("unbounded-copy", "base/file.cc", "strcpy(a, b);"),
        ("unbounded-copy", "base/file.cc", 'sprintf(a, "%d", 1);'),
        ("print", "coordinator/commit.cc", "std::cout << 1;"),
        ("print", "coordinator/commit.cc", 'printf("x");'),
        ("recursive-mutex", "worker/agent/agent.cc", "std::recursive_mutex mu;"),
        ("detach", "worker/agent/agent.cc", "thread.detach();"),
        ("thread-detach", "worker/train/trainer.cc", "std::thread([] {}).detach();"),
        ("using-namespace", "base/file.cc", "using namespace std;"),
        ("sleep-in-test", "base/file_test.cc", "absl::SleepFor(absl::Seconds(1));"),
        ("sleep-in-test", "tests/integration/a.cc", "std::this_thread::sleep_for(x);"),
        ("sleep-in-test", "tests/integration/a.cc", "sleep(1);"),
        ("unimplemented", "coordinator/services/a_service.cc", 'return absl::UnimplementedError("");'),
        ("torch-macros", "coordinator/commit.cc", "CHECK(x);"),
        ("torch-macros", "coordinator/commit.cc", 'LOG(INFO) << "x";'),
        ("ignore-error", "storage/blobs.cc", "status.IgnoreError();"),
        ("todo", "storage/blobs.cc", "// TODO(me): it"),
        ("todo", "proto/ursa/v1/a.proto", "// FIXME"),
        ("unfinished", "storage/blobs.cc", "// Good enough for now."),
        ("unfinished", "storage/blobs.cc", "// Not implemented."),
        ("path", "tests/integration/a_test.cc", 'Open("/work/data");'),
        ("path", "README.md", "see ../shared/design"),
    ]
    GOOD = [
        ("experiments/split.cc", "int operand(2); Strand(1); // std::rand()"),
        ("client/cli/up.cc", 'file_system(1); error << "system(x)"; std::error_code(1, std::system_category());'),
        ("base/file.cc", 'snprintf(a, sizeof a, "%d", 1);'),
        ("client/cli/main.cc", "std::cout << 1;"),
        ("base/file_test.cc", "std::cout << 1;"),
        ("worker/train/trainer.cc", "auto y = x.detach() * at::rand({2});"),
        ("worker/agent/agent.cc", "clock.SleepUntil(t); SleepFor(d);"),
        ("coordinator/commit.cc", "URSA_CHECK(x); URSA_LOG(INFO) << 1;"),
        ("storage/blobs.cc", "// The file may be gone already.\nstatus.IgnoreError();"),
        ("storage/blobs.cc", "status.IgnoreError();  // the file may be gone already"),
        ("storage/blobs.cc", 'Log("a // b"); auto a = R"(\nstd::rand() " )"; int64_t x = 1\'000\'000; auto q = \'"\';'),
        ("tools/test", "data=../shared/data"),
    ]

    def test_planted(self):
        for rule, path, line in self.BAD:
            with self.subTest(path=path, line=line):
                self.assertEqual([rule], rules_of(path, "int a;\n" + line + "\n"))

    def test_lawful(self):
        for path, line in self.GOOD:
            with self.subTest(path=path, line=line):
                self.assertEqual([], rules_of(path, "int a;\n" + line + "\n"))

    def test_names_the_line(self):
        finding = list(tidy_rules.check_banned_code("base/file.cc", "/* a\n b */\n\nint x = rand();\n"))[0]
        self.assertEqual(("base/file.cc", 4, "rand"), finding[:3])

    def test_header_guard(self):
        good = "#ifndef URSA_BASE_RNG_H_\n#define URSA_BASE_RNG_H_\n#endif\n"
        self.assertEqual([], rules_of("base/rng.h", good))
        self.assertEqual(["header-guard"], rules_of("base/ids.h", good))
        self.assertEqual(["header-guard"], rules_of("base/ids.h", "#pragma once\n"))
        self.assertEqual([], rules_of("base/ids.h", '#ifndef NAME\n#error "included by a.cc and b.cc"\n#endif\n'))


class BuiltTest(unittest.TestCase):
    BUILDS = {"": "", "base": 'srcs = ["a.cc", "sub/b.cc"]', "data": 'srcs = glob(["*.cc"])'}

    def unbuilt(self, *paths):
        return [f.path for f in tidy_rules.check_built(paths, self.BUILDS)]

    def test_planted(self):
        planted = ["base/forgotten_test.cc", "base/sub/a.h", "none/a.cc", "base/a_test.py", "base/aa.cc"]
        self.assertEqual(planted, self.unbuilt(*planted))

    def test_lawful(self):
        self.assertEqual([], self.unbuilt("base/a.cc", "base/sub/b.cc", "data/any.cc", "base/README.md", "top.h"))


class LengthTest(unittest.TestCase):
    def test_files(self):
        line = "int a;\n"
        self.assertEqual([], rules_of("base/a.cc", line * tidy_rules.FILE_LINES_MAX))
        self.assertEqual(["file-length"], rules_of("base/a.cc", line * (tidy_rules.FILE_LINES_MAX + 1)))
        self.assertEqual([], rules_of("tests/golden/a.json", line * 1000))

    def test_functions_may_not_grow(self):
        at_limit, over = function_of(tidy_rules.FUNCTION_LINES_MAX), function_of(tidy_rules.FUNCTION_LINES_MAX + 1)
        self.assertEqual([], rules_of("base/a.cc", at_limit))
        self.assertEqual(["function-length"], rules_of("base/a.cc", over))
        self.assertEqual([], rules_of("base/a.cc", over, {("base/a.cc", "F"): 71}))
        self.assertEqual(["function-length"], rules_of("base/a.cc", function_of(72), {("base/a.cc", "F"): 71}))
        self.assertEqual(["function-length"], rules_of("base/a.cc", over, {("base/a.cc", "G"): 71}))

    def test_python_functions(self):
        text = "def f():\n" + "    a = 1\n" * 70
        self.assertEqual(["function-length"], rules_of("tools/a.py", text))
        self.assertEqual([], rules_of("tools/a.py", text[:-10]))

    def test_finds_cpp_functions(self):
        text = """
namespace ursa {
namespace {
constexpr int kTable[] = {1, 2};
#define MACRO(x) \\
  void x() {
}  // namespace

class A : public B {
 public:
  A() : a_(1), b_{2} {
    Run([&] { return 1; });
  }
  int b() const { return b_; }

 private:
  int c_{3};
  int a_ ABSL_GUARDED_BY(mu_) = 0;
};

template <typename T>
absl::StatusOr<std::map<int, T>> A::Long(int a,
                                         int b) && noexcept {
  for (;;) {
    if (a) {
    }
  }
}

TEST(ATest, DoesIt) {
  Use("}");
}
}  // namespace ursa
"""
        found = [(f.name, f.num_lines) for f in tidy_rules.functions_of_cpp(text)]
        self.assertEqual([("A", 3), ("b", 1), ("A::Long", 8), ("TEST(ATest,DoesIt)", 3)], found)


if __name__ == "__main__":
    xml_report.main(__name__)
