#!/usr/bin/env python3
"""Runs tools/tidy itself on a small workspace with planted violations: clang-format, buf, the record of long functions."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(os.path.realpath(__file__)).parent
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
import xml_report  # noqa: E402

GOOD_PROTO = """syntax = "proto3";

package ursa.v1;

// What a thing is.
message Thing {
  string name = 1;
}
"""
LONG = "int F() {\n" + "  G();\n" * 70 + "}\n"


class TidyProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "workspace"
        self.environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
        for name in ("tidy", "tidy_rules.py"):
            self.write(f"tools/{name}", (TOOLS / name).read_text())
        (self.root / "tools/tidy").chmod(0o755)
        shutil.copy(TOOLS.parent / ".clang-format", self.root)
        shutil.copytree(TOOLS.parent / "proto", self.root / "proto", ignore=shutil.ignore_patterns("ursa"))
        self.write("proto/ursa/v1/thing.proto", GOOD_PROTO)
        self.write("base/a.cc", "int a() { return 1; }\n")
        self.write("base/BUILD.bazel", '"a.cc"\n"b.cc"\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def tidy(self, *arguments):
        done = subprocess.run([self.root / "tools/tidy", *arguments], cwd=self.root, env=self.environment, capture_output=True,
                              text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_a_tidy_workspace(self):
        status, output = self.tidy()
        self.assertEqual(0, status, output)
        self.assertIn("0 findings", output)

    def test_format(self):
        self.write("base/b.cc", "int  b( ) {return 1;}\n")
        status, output = self.tidy()
        self.assertEqual(1, status)
        self.assertIn("base/b.cc:1: [format]", output)
        self.assertEqual(0, self.tidy("--fix")[0])
        self.assertEqual("int b() { return 1; }\n", (self.root / "base/b.cc").read_text())

    def test_buf(self):
        self.write("proto/ursa/v1/thing.proto", GOOD_PROTO.replace("name =", "Name ="))
        status, output = self.tidy()
        self.assertEqual(1, status)
        self.assertIn("proto/ursa/v1/thing.proto:7: [buf]", output)

    def test_accepted_functions_may_stay_but_not_grow(self):
        self.write("base/b.cc", LONG)
        self.assertIn("[function-length] F has 72 lines", self.tidy()[1])
        self.assertEqual(0, self.tidy("--accept-functions")[0])
        self.assertEqual(0, self.tidy()[0])
        self.write("base/b.cc", LONG.replace("{\n", "{\n  G();\n", 1))
        self.assertIn("[function-length] F has 73 lines, at most 72", self.tidy()[1])

    def test_sees_new_files_and_not_ignored_ones(self):
        if shutil.which("git") is None:
            self.skipTest("no git on this machine")
        for command in (["init", "-q"], ["add", "."]):
            subprocess.run(["git", *command], cwd=self.root, env=self.environment, check=True)
        self.write("base/new.cc", "int a = rand();\n")
        self.write("out/built.cc", "int a = rand();\n")
        self.write(".gitignore", "/out/\n")
        status, output = self.tidy()
        self.assertEqual(1, status)
        self.assertIn("base/new.cc:1: [rand]", output)
        self.assertNotIn("out/built.cc", output)

    def test_an_unknown_file_is_an_error(self):
        self.assertEqual(2, self.tidy("base/nothing.cc")[0])


if __name__ == "__main__":
    xml_report.main(__name__)
