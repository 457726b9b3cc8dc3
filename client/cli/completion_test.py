#!/usr/bin/env python3
"""The scripts of `ursa completion` in the shells themselves: what each offers for the beginning of a line. A shell that is not
here is skipped, saying so."""

import os
import pathlib
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import xml_report  # noqa: E402

URSA = ROOT / "client/cli/ursa"

# A line up to the cursor: words that are offered, and words that are not. "a file" stands for a file's name.
CASES = [
    ("ursa ", ["up", "dataset", "experiment", "model", "completion"], ["import", "--server"]),
    ("ursa da", ["dataset"], ["up", "model"]),
    ("ursa dataset ", ["import", "show", "list", "examples"], ["promote", "dataset"]),
    ("ursa dataset im", ["import"], ["list"]),
    ("ursa dataset import --", ["--labels", "--split", "--json", "--server", "--token-file"], ["--why", "import"]),
    ("ursa dataset import pets ", ["a file"], ["--labels"]),
    ("ursa model promote pets@2 --ex", ["--expect-champion"], ["--why"]),
    ("ursa evaluate --sp", ["--split"], ["--json"]),
    ("ursa evaluate pets pets --split ", ["train", "valid", "test"], ["--split", "a file"]),
    ("ursa evaluate pets pets --split va", ["valid"], ["train"]),
    ("ursa status --token-file ", ["a file"], ["--json"]),
    ("ursa up --", ["--dir", "--detach"], ["--server"]),
    ("ursa completion ", ["bash", "zsh", "fish"], ["--json"]),
    ("ursa completion --", ["--json"], ["bash"]),
]

# What bash does when Tab is pressed at the end of the line in $1, but for asking the terminal.
BASH = """
source <("$URSA" completion bash) || exit 1
line=$1 COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<< "$line"
[[ $line != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
[[ $(complete -p ursa) =~ -F\\ ([^ ]+) ]] || exit 2
"${BASH_REMATCH[1]}" ursa "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
if ((${#COMPREPLY[@]})); then printf '%s\\n' "${COMPREPLY[@]}"
elif [[ $(complete -p ursa) == *'-o default'* ]]; then compgen -f -- "${COMP_WORDS[COMP_CWORD]}" || true
fi
"""


class CompletionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        pathlib.Path(cls.folder, "a file").touch()
        bin_folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (bin_folder / "ursa").symlink_to(URSA.resolve())
        cls.env = dict(os.environ, URSA=str(URSA.resolve()), HOME=cls.folder, TERM="dumb",
                       PATH=f"{bin_folder}:{os.environ['PATH']}")

    def shell(self, name):
        path = shutil.which(name)
        if path is None:
            self.skipTest(f"{name} is not installed here")
        return path

    def expect(self, offered_for):
        for line, offered, others in CASES:
            with self.subTest(line=line):
                found = offered_for(line)
                self.assertLessEqual(set(offered), found)
                self.assertFalse(found & set(others), found)

    def lines_of(self, command):
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return set(done.stdout.splitlines())

    def test_bash(self):
        bash = self.shell("bash")
        self.expect(lambda line: self.lines_of([bash, "--norc", "-c", BASH, "bash", line]))

    def test_bash_at_a_terminal(self):
        setup = 'source <("$URSA" completion bash)'
        self.assertIn("ursa dataset import ", self.typed([self.shell("bash"), "--norc", "--noprofile", "-i"], setup, "ursa data\tim\t"))

    def test_zsh_at_a_terminal(self):
        setup = 'autoload -Uz compinit && compinit -u; source <("$URSA" completion zsh)'
        self.assertIn("ursa dataset import ", self.typed([self.shell("zsh"), "-f", "-i"], setup, "ursa data\tim\t"))

    def test_fish(self):
        fish = self.shell("fish")
        script = '"$URSA" completion fish | source; complete -C -- $argv[1]'

        def offered_for(line):
            return {text.split("\t")[0] for text in self.lines_of([fish, "--no-config", "-c", script, line])}

        self.expect(offered_for)

    def typed(self, command, setup, keys):
        """The line that stands at the shell's prompt after these keys."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.folder)
            os.execvpe(command[0], command, dict(self.env, PS1="$ ", PROMPT="$ "))
        seen = ""

        def read_until(pattern):
            nonlocal seen
            deadline = time.monotonic() + 30
            while not (match := re.search(pattern, seen)):
                self.assertTrue(select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], seen)
                seen += os.read(terminal, 4096).decode(errors="replace")
                seen = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|[^\x08]\x08", "", seen)  # colours, and what was taken back
            seen = seen[match.end():]
            return match

        try:
            read_until(r"\$ $")
            os.write(terminal, f"{setup}; echo re''ady\n".encode())
            read_until(r"\nready\r?\n(.|\n)*\$ $")
            os.write(terminal, keys.encode())
            line = read_until(r"ursa dataset im\S* ").group()
            os.write(terminal, b"\x15exit\n")
            return line
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    xml_report.main()
