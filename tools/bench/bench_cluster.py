"""A cluster of real processes in a scratch folder, for benches."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(os.path.realpath(__file__)).parent.parent.parent
CACHE = pathlib.Path(os.environ.get("URSA_CACHE", pathlib.Path.home() / ".cache/ursa"))


class Cluster:
    """`ursa up` with so many slots; `close` ends it and its folder."""

    def __init__(self, slots):
        self.folder = tempfile.TemporaryDirectory(prefix="ursa-bench-")
        self.slots = slots
        self.env = dict(os.environ)
        self.call("up", "--dir", self.folder.name, "--port", "0", "--slots", str(slots), "--detach")
        for line in pathlib.Path(self.folder.name, "client.env").read_text().splitlines():
            key, _, value = line.removeprefix("export ").partition("=")
            self.env[key] = value.strip('"')

    def call(self, *words):
        """Runs a command for its JSON."""
        done = subprocess.run([str(ROOT / "tools/ursa"), *words, "--json"], env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"ursa {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-1000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else {}

    def write_recipe(self, text):
        path = pathlib.Path(self.folder.name, "bench.textproto")
        path.write_text(text)
        return str(path)

    def processes(self, program):
        """(id, command line) of this cluster's processes of that program, oldest first."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == program and any(self.folder.name in word for word in words):
                found.append((int(entry.name), " ".join(words)))
        return sorted(found)

    def close(self):
        subprocess.run([str(ROOT / "tools/ursa"), "down", "--dir", self.folder.name], capture_output=True)
        self.folder.cleanup()
