#!/usr/bin/env python3
"""tools/ursa and tools/quickstart, on a workspace with programs that only say how they were called."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

TOOLS = pathlib.Path(os.path.realpath(__file__)).parent
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True
import xml_report  # noqa: E402

PROGRAMS = ("client/cli/ursa", "coordinator/ursa-coordinator", "worker/agent/ursa-worker", "worker/task/ursa-task")
SAYS = '#!/bin/sh\necho "$(basename "$0")|$*|$URSA_BIN"\nexit 7\n'
BUILDS = """#!/bin/sh
echo building
cd "$(dirname "$0")/.."
for p in %s; do mkdir -p bazel-bin/$(dirname $p); cp says bazel-bin/$p; done
""" % " ".join(PROGRAMS)


class LaunchersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(os.path.realpath(folder.name)) / "a workspace"
        (self.root / "tools").mkdir(parents=True)
        for name in ("ursa", "quickstart"):
            shutil.copy(TOOLS / name, self.root / "tools")
        self.script("says", SAYS)
        self.script("tools/build", BUILDS)
        self.script("tools/setup", "#!/bin/sh\necho setting up\n")
        self.script("tools/quickstart_story", '#!/bin/sh\nprintf "story:"\nprintf " <%s>" "$@"\n')

    def script(self, name, text):
        path = self.root / name
        path.write_text(text)
        path.chmod(0o755)

    def run_tool(self, name, *arguments, **environment):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("URSA_")}
        return subprocess.run([self.root / "tools" / name, *arguments], env={**clean, "BAZEL": "true", **environment},
                              capture_output=True, text=True, check=False)

    def test_ursa_builds_only_what_is_missing_and_passes_all_on(self):
        first = self.run_tool("ursa", "model", "list", "--json")
        self.assertEqual((7, f"ursa|model list --json|{self.root}/out/bin\n", "building\n"),
                         (first.returncode, first.stdout, first.stderr))
        self.assertEqual("", self.run_tool("ursa").stderr)
        (self.root / "bazel-bin/worker/task/ursa-task").unlink()
        self.assertEqual("building\n", self.run_tool("ursa").stderr)
        self.assertEqual("building\n", self.run_tool("ursa", URSA_REBUILD="1").stderr)

    def test_ursa_gives_the_daemons_their_names(self):
        self.run_tool("ursa")
        for program in PROGRAMS:
            link = self.root / "out/bin" / pathlib.Path(program).name
            self.assertEqual(self.root / "bazel-bin" / program, pathlib.Path(os.path.realpath(link)))

    def test_ursa_leaves_a_given_folder_of_daemons(self):
        self.assertIn("|/opt/ursa/bin\n", self.run_tool("ursa", URSA_BIN="/opt/ursa/bin").stdout)

    def test_ursa_works_through_a_link_and_fast(self):
        self.run_tool("ursa")
        (self.root / "link").symlink_to("tools/ursa")
        seconds = []
        for _ in range(5):
            start = time.monotonic()
            done = subprocess.run([self.root / "link", "up"], capture_output=True, text=True, check=False)
            seconds.append(time.monotonic() - start)
        self.assertIn("ursa|up|", done.stdout)
        self.assertLess(min(seconds), 0.1)

    def test_quickstart_goes_through_its_steps(self):
        done = self.run_tool("quickstart")
        self.assertEqual(0, done.returncode)
        lines = done.stdout.splitlines()
        self.assertEqual(["1/3", "setting up", "2/3", "building", "3/3", "story: <>"], [x if x[1] != "/" else x[:3] for x in lines])

    def test_quickstart_passes_the_folder_on(self):
        done = self.run_tool("quickstart", "--data", str(self.root))
        self.assertIn(f"story: <--data> <{self.root}>", done.stdout)

    def test_quickstart_refuses_what_it_does_not_know(self):
        for arguments in (["--nope"], ["--data"], ["--data", "/nonexistent"], ["--data=/nonexistent"]):
            done = self.run_tool("quickstart", *arguments)
            self.assertEqual((2, ""), (done.returncode, done.stdout))
            self.assertIn("error:", done.stderr)

    def test_quickstart_stops_when_a_step_fails(self):
        for step in ("tools/setup", "tools/build"):
            self.setUp()
            self.script(step, "#!/bin/sh\necho the reason >&2\nexit 1\n")
            done = self.run_tool("quickstart")
            self.assertNotEqual(0, done.returncode)
            self.assertIn("the reason", done.stderr)
            self.assertNotIn("story", done.stdout.replace("the story", ""))


if __name__ == "__main__":
    xml_report.main(__name__)
