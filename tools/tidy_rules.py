"""The rules of the house as pure functions: text in, findings out. tools/tidy applies them to the workspace's files.

A line may be excused from one rule, with the reason, by a comment on it or on the line before:
    // tidy: allow(sleep-in-test) waits for the kernel, which has no event for this
"""

import ast
import collections
import fnmatch
import re

Finding = collections.namedtuple("Finding", "path line rule message")
# One function: where it starts, and how many lines it has.
Function = collections.namedtuple("Function", "name line num_lines")

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

CPP = (".h", ".cc", ".cpp", ".hpp", ".cu", ".c")
ROOMS = ("base", "proto", "storage", "experiments", "coordinator", "worker", "client", "tests", "tools")

# Who may include whom, beside itself (the table in the design of the house). "storage" is narrowed below.
MAY_INCLUDE = {
    "base": set(),
    "storage": {"base", "proto"},
    "experiments": {"base", "proto"},
    "coordinator": {"base", "proto", "storage", "experiments"},
    "worker": {"base", "proto", "storage", "experiments"},
    "client": {"base", "proto", "experiments"},
}

TORCH_ROOMS = ("worker/data/", "worker/nn/", "worker/train/", "worker/eval/", "worker/comm/", "worker/serve/", "worker/task/")
# Rooms that a machine with only PyTorch on it can build.
TORCH_ONLY_ROOMS = ("worker/nn/", "worker/train/", "worker/comm/")
# Rooms without services, storage, clock and threads.
PURE_ROOMS = ("coordinator/state/", "coordinator/scheduling/", "experiments/")

# External headers and the only files that may include them.
RESTRICTED_HEADERS = [
    ("rocksdb", r"rocksdb/", ("storage/rocks_*", "storage/testing/rocks_*")),
    ("grpc", r"(grpcpp|grpc|grpc\+\+)/|.*\.grpc\.pb\.h$",
     ("*_service.*", "*_service_test.cc", "*/grpc_*", "*/main.cc", "client/lib/*", "tests/*", "tools/*")),
    ("cuda", r"(cuda|nccl|cublas|cudnn|cuda_runtime|cuda_runtime_api)[\w]*\.h$|(c10|ATen)/cuda/|.*ProcessGroupNCCL",
     ("worker/comm/*cuda*", "worker/comm/*nccl*")),
    ("image-codec", r"opencv2/|jpeglib\.h$|jerror\.h$|turbojpeg\.h$|(libpng16/)?png\.h$", ("worker/data/*",)),
    ("torch", r"(torch|ATen|c10)/", tuple(room + "*" for room in TORCH_ROOMS) + ("tests/*", "tools/*")),
]
IMPURE_HEADERS = re.compile(
    r"(thread|mutex|shared_mutex|condition_variable|future|atomic|chrono|ctime|time\.h|fstream|unistd\.h)$|"
    r"absl/synchronization/|absl/time/clock\.h|base/(clock|file)\.h|coordinator/(services|auth|http|commit)")

# What is banned in code (comments and string literals taken out): rule, pattern, what to do, and where it is allowed.
BANNED_CODE = [
    ("rand", r"\bstd::s?rand\b|(?<![\w:.>])s?rand\s*\(|(?<![\w.>])random\s*\(\s*\)|\brandom_device\b", "use base/rng.h", ()),
    ("system", r"(?<![\w.>])(std::)?(system|popen)\s*\(", "start processes without a shell", ()),
    ("unbounded-copy", r"\b(strcpy|strcat|sprintf|vsprintf|gets|strncpy|strtok)\s*\(", "use std::string", ()),
    ("print", r"\bstd::(cout|cerr)\b|(?<![\w:])(std::)?f?printf\s*\(|\bputs\s*\(", "a library returns or logs, it does not print",
     ("*/main.cc", "client/cli/*", "worker/task/*",  # a task's output is its log
       "tests/*", "tools/*", "*_test.cc", "*_testlib.*", "*_testing.*", "*_bench.cc", "base/log.cc")),
    ("recursive-mutex", r"\brecursive(_timed)?_mutex\b", "never lock twice; split the function that needs the lock", ()),
    ("detach", r"[.>]detach\s*\(\s*\)\s*;", "own the thread and join it",
     tuple(room + "*" for room in TORCH_ROOMS)),  # tensors have a detach() of their own
    ("thread-detach", r"\bstd::thread\s*\([^;]*\)\s*\.detach\s*\(", "own the thread and join it", ()),
    ("using-namespace", r"\busing\s+namespace\s+std\b", "name what you use", ()),
    ("sleep-in-test", r"\b(sleep_for|sleep_until|SleepFor|usleep|nanosleep)\s*\(|(?<![\w.])sleep\s*\(", "wait for the event itself", ()),
    ("unimplemented", r"\bUnimplementedError\b|StatusCode::UNIMPLEMENTED\b", "what is not built is absent",
     ("base/grpc_status*", "coordinator/core/access.cc")),  # what gRPC says of a call that no one knows
    ("torch-macros", r"(?<![\w:])(CHECK|LOG|VLOG|DCHECK)(_\w+)?\s*\(", "torch owns the short names: URSA_CHECK, URSA_LOG", ()),
]
SLEEP_RULE_FILES = ("*_test.cc", "tests/*")
# What is banned in the text of code files, comments included.
BANNED_TEXT = [
    ("todo", r"\b(TODO|FIXME|XXX|HACK)\b", "do it, or write an issue"),
    ("unfinished", r"\bfor now\b|\bnot (yet )?implemented\b|\bplaceholder\b", "say what it does and why"),
]
BANNED_PATHS = re.compile(r"(?<![\w./-])/work/|\.\./shared\b|\bshared/(data|fixtures|accept|design)\b")
PATH_EXEMPT = ("tools/test",)
# The rules' own words, and the files that plant them.
WORD_EXEMPT = ("tools/tidy*",)

ALLOW = re.compile(r"tidy: allow\(([\w-]+)\)\s*\S")


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def is_test(path):
    return path.startswith("tests/") or re.search(r"_(test|testlib|testing|bench)\.(cc|h|py)$", path) is not None


def allowed(lines, index, rule):
    """Whether line `index` (from 0) carries, or follows, an excuse from `rule`."""
    for text in lines[max(0, index - 1):index + 1]:
        found = ALLOW.search(text)
        if found and found.group(1) == rule:
            return True
    return False


_TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^()\\ ]{0,16})\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])*\'', re.S)


def strip_cpp(text, keep_strings=False):
    """C++ `text` with comments and the insides of literals blanked out, line by line where they were."""

    def blank(match):
        token = match.group(0)
        if keep_strings and token[0] in "\"'":
            return token
        lines = "\n" * token.count("\n")
        return '""' + lines if token[0] in "\"R" else ("' '" if token[0] == "'" else lines)

    return _TOKENS.sub(blank, text)


# ---- includes

_INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def _room_of_include(header):
    if header.startswith("ursa/"):
        return "proto"
    first = header.split("/", 1)[0]
    return first if first in ROOMS else None


def _storage_include_problem(path, header):
    """Why `path`, outside storage, may not include storage's `header`; None if it may."""
    name = header.split("/", 1)[1]
    if name.startswith("rocks_") and not path.endswith("/main.cc") and not is_test(path):
        return "the RocksDB implementation is chosen in main.cc only; include the interface"
    if path.startswith("worker/") and "blob" not in name and not is_test(path):
        return "a worker may include storage's blob interfaces only"
    return None


def check_include(path, header):
    """The problem with `#include header` in `path`, or None."""
    room, target = path.split("/", 1)[0], _room_of_include(header)
    problem = None
    if target and room in MAY_INCLUDE and target != room:
        if target in ("tests", "tools") and is_test(path):
            return None
        if target not in MAY_INCLUDE[room]:
            return f"{room}/ may not include {target}/"
        if target == "storage":
            problem = _storage_include_problem(path, header)
    for name, pattern, places in RESTRICTED_HEADERS:
        if re.match(pattern, header) and not matches(path, places):
            problem = f"{name} headers only in {', '.join(places)}"
    if path.startswith(TORCH_ONLY_ROOMS) and not is_test(path):
        if (target and target != "base" and not header.startswith(TORCH_ONLY_ROOMS)) or header == "base/grpc_status.h":
            problem = f"{', '.join(TORCH_ONLY_ROOMS)} need nothing but libtorch and base"
    if path.startswith(PURE_ROOMS) and not is_test(path):
        if IMPURE_HEADERS.match(header) or target == "storage":
            problem = f"{', '.join(PURE_ROOMS)} have no services, storage, clock or threads"
    if path.endswith(".h") and header == "torch/torch.h":
        problem = "torch/torch.h takes 20 s in every file that includes this header; include the narrow headers"
    return problem


def check_includes(path, text):
    lines = text.split("\n")
    for index, line in enumerate(strip_cpp(text, keep_strings=True).split("\n")):
        found = _INCLUDE.match(line)
        if not found:
            continue
        header = found.group(1) or found.group(2)
        problem = check_include(path, header)
        if problem and not allowed(lines, index, "include"):
            yield Finding(path, index + 1, "include", f'"{header}": {problem}')


# ---- banned code and words


def check_banned_code(path, text):
    lines = text.split("\n")
    code = strip_cpp(text).split("\n")
    for rule, pattern, advice, places in BANNED_CODE:
        if matches(path, places) or (rule == "sleep-in-test" and not matches(path, SLEEP_RULE_FILES)):
            continue
        compiled = re.compile(pattern)
        for index, line in enumerate(code):
            found = compiled.search(line)
            if found and not allowed(lines, index, rule):
                yield Finding(path, index + 1, rule, f"`{found.group(0).strip()}` is banned: {advice}")
    for index, line in enumerate(code):
        if ".IgnoreError()" in line:
            before = lines[index - 1].strip() if index else ""
            if "//" not in lines[index] and not before.startswith("//"):
                yield Finding(path, index + 1, "ignore-error", ".IgnoreError() wants the reason in a comment")


def check_header_guard(path, text):
    if '#error "included by' in text:  # meant to be included several times, and says so
        return
    guard = "URSA_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper() + "_"
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        yield Finding(path, 1, "header-guard", f"the include guard must be {guard}")


def check_words(path, text):
    if matches(path, WORD_EXEMPT):
        return
    lines = text.split("\n")
    for rule, pattern, advice in BANNED_TEXT:
        compiled = re.compile(pattern, re.I if rule == "unfinished" else 0)
        for index, line in enumerate(lines):
            found = compiled.search(line)
            if found and not allowed(lines, index, rule):
                yield Finding(path, index + 1, rule, f"`{found.group(0)}`: {advice}")


def check_paths(path, text):
    if matches(path, PATH_EXEMPT + WORD_EXEMPT):
        return
    for index, line in enumerate(text.split("\n")):
        found = BANNED_PATHS.search(line)
        if found:
            yield Finding(path, index + 1, "path", f"`{found.group(0)}`: a path of one machine; use URSA_DATA or URSA_FIXTURES")


def check_file_length(path, text):
    num_lines = text.count("\n")
    if num_lines > FILE_LINES_MAX:
        yield Finding(path, FILE_LINES_MAX + 1, "file-length", f"{num_lines} lines, at most {FILE_LINES_MAX}: split it")


# ---- function lengths

_NOT_A_FUNCTION = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b[^()]*$|^\s*$|=\s*$")
_LEAD = re.compile(r"(\s|(public|private|protected)\s*:)*")
_INITIALIZER = ("", 0)
_DECLARATOR = re.compile(r"([~\w:]+|operator\s*\S+)\s*\(")


def _function_name(head):
    found = _DECLARATOR.search(head)
    if not found:
        return None
    name = found.group(1)
    if name in ("TEST", "TEST_F", "TEST_P", "TYPED_TEST", "BENCHMARK"):
        return re.sub(r"\s+", "", head[found.start():].split(")")[0]) + ")"
    return name


def functions_of_cpp(text):
    """The outermost functions of C++ `text`. Lambdas and local blocks belong to the function around them."""
    code = re.sub(r"(?m)^[ \t]*#(?:.*\\\n)*.*", lambda m: "\n" * m.group(0).count("\n"), strip_cpp(text))
    stack = []  # one entry per open brace: None, or (name, first line) of a function
    head_start, line, depth_function, parens = 0, 1, 0, 0
    for position, char in enumerate(code):
        if char == "\n":
            line += 1
        elif char in "()":
            parens += 1 if char == "(" else -1
        elif char == "{" and code[position - 1:position].strip():
            stack.append(_INITIALIZER)  # `b_{2}`: the formatter puts a space before every other brace
            depth_function += 1 if depth_function else 0
        elif char == "{":
            entry = None
            if not depth_function and not parens:
                head = code[head_start:position]
                name = None if _NOT_A_FUNCTION.search(head) else _function_name(head)
                if name:
                    lead = _LEAD.match(head).end()
                    entry = (name, code.count("\n", 0, head_start + lead) + 1)
            if entry or depth_function:
                depth_function += 1
            stack.append(entry)
            head_start = position + 1
        elif char == "}" and stack:
            entry = stack.pop()
            depth_function = max(0, depth_function - 1)
            if entry is _INITIALIZER:
                continue
            head_start = position + 1
            if entry:
                yield Function(entry[0], entry[1], line - entry[1] + 1)
        elif char == ";" and not parens:
            head_start = position + 1


def functions_of_python(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Function(node.name, node.lineno, node.end_lineno - node.lineno + 1)


def long_functions(path, text):
    """Names and lengths of the functions over the limit; of equal names the longest."""
    functions = functions_of_cpp(text) if path.endswith(CPP) else functions_of_python(text)
    longest = {}
    for function in functions:
        if function.num_lines > FUNCTION_LINES_MAX and function.num_lines > longest.get(function.name, (0, 0, 0))[2]:
            longest[function.name] = function
    return longest


def check_function_length(path, text, recorded):
    """`recorded`: {(path, function): lines} that were accepted before. Only growth over them is a finding."""
    for name, function in long_functions(path, text).items():
        limit = recorded.get((path, name), FUNCTION_LINES_MAX)
        if function.num_lines > limit:
            yield Finding(path, function.line, "function-length",
                          f"{name} has {function.num_lines} lines, at most {limit}: split it "
                          "(a linear story may stay long: tools/tidy --accept-functions)")


# ---- what is built


def check_built(paths, build_texts):
    """Sources that no BUILD file names: dead code, or a test that never runs. `build_texts`: {folder: text of its BUILD.bazel}."""
    for path in paths:
        if not path.endswith((".cc", ".h", ".proto", "_test.py", "_test.sh")) or "/" not in path:
            continue
        folder = path.rsplit("/", 1)[0]
        while folder and folder not in build_texts:
            folder = folder.rsplit("/", 1)[0] if "/" in folder else ""
        text = build_texts.get(folder, "")
        name = path[len(folder) + 1:] if folder else path
        stem = name.rsplit(".", 1)[0]  # as a list comprehension names it
        if f'"{name}"' not in text and f'/{name}"' not in text and f'"{stem}"' not in text and "glob(" not in text:
            yield Finding(path, 1, "unbuilt", "no BUILD.bazel names it: it is not built, or a test that never runs")


# ---- all of them


def is_python(path, text):
    return path.endswith(".py") or text.startswith("#!/usr/bin/env python3")


def check_text(path, text, recorded):
    """All findings of the textual rules in one file."""
    findings = []
    cpp, python = path.endswith(CPP), is_python(path, text)
    if cpp:
        findings += check_includes(path, text)
        findings += check_banned_code(path, text)
    if path.endswith(".h"):
        findings += check_header_guard(path, text)
    if cpp or python:
        findings += check_function_length(path, text, recorded)
    if cpp or python or path.endswith((".proto", ".sh", ".bzl", ".bazel")) or text.startswith("#!"):
        findings += check_words(path, text)
    findings += check_paths(path, text)
    if not path.endswith((".json", ".lock", ".csv", ".txt", ".xml", ".svg")):
        findings += check_file_length(path, text)
    return findings
