#!/usr/bin/env python3
"""Bad input of every kind: a clear error that names it, and nothing lost."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "tools")]
sys.dont_write_bytecode = True
from cluster import BIN, FIXTURES, Cluster, draw_stripes, wait_until, write_png, write_recipe  # noqa: E402
from wire import Wire  # noqa: E402
import xml_report  # noqa: E402

HELD_BYTES = 16 << 20   # what a client may send before it is killed
SLACK_BYTES = 3 << 20   # a piece that was cut, one on its way, and what gRPC adds


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.ursa = cls.enterClassContext(Cluster(slots=1))
        draw_stripes(cls.folder / "good", each=12)
        cls.ursa.ok("dataset", "import", "good", cls.folder / "good", "--split", "random:0.2:seed=1")

    def refused(self, status, *words, says=()):
        answer = self.ursa.run(*words)
        self.assertEqual(answer.status, status, answer.out + answer.err)
        self.assertTrue(answer.err.startswith("error: "), answer.err)
        for word in says:
            self.assertIn(word, answer.err)

    def fresh(self, name):
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def test_sources_without_a_dataset_in_them(self):
        empty = self.fresh("empty")
        self.refused(1, "dataset", "import", "x", empty, says=["empty"])
        self.refused(1, "dataset", "import", "x", self.folder / "nowhere", says=["nowhere"])
        one = self.fresh("one")
        draw_stripes(one, classes=("across",), each=5)
        self.refused(1, "dataset", "import", "x", one, says=["across"])
        torn = self.fresh("torn")
        for label in "ab":
            (torn / label).mkdir()
            (torn / label / "x.jpg").write_bytes(b"")
        self.refused(1, "dataset", "import", "x", torn)

    def test_one_picture_under_two_labels(self):
        twice = self.fresh("twice")
        draw_stripes(twice, each=8)
        shutil.copy(twice / "across/000.png", twice / "down/same.png")
        shutil.copy(twice / "across/001.png", twice / "across/copy.png")
        done = self.ursa.ok("dataset", "import", "twice", twice, "--split", "random:0.25:seed=1")
        self.assertEqual((done["num_examples"], done["num_duplicates"]), (15, 1))
        reasons = {r["source"]: r["reason"] for r in done["refused"]}
        self.assertEqual(set(reasons), {"across/000.png", "down/same.png"})
        self.assertIn("down/same.png", reasons["across/000.png"])

    def test_a_class_with_one_picture(self):
        lone = self.fresh("lone")
        draw_stripes(lone, each=8)
        write_png(lone / "zebra/only.png", 16, 16, lambda x, y: (x, y, 99))
        answer = self.ursa.run("dataset", "import", "lone", lone, "--split", "random:0.25:seed=1")
        if answer.status == 0:
            self.assertIn("zebra", answer["classes"], "accepted only if the model can learn it")
        else:
            self.assertEqual(answer.status, 1)
            self.assertIn("zebra", answer.err)

    def test_every_probe_file(self):
        """What ingest accepts is what Pillow accepts, but for the named exceptions GIF and ICO."""
        cases = json.loads((FIXTURES / "probe_formats/cases.json").read_text())["cases"]
        probe = self.fresh("probe")
        draw_stripes(probe, classes=("a", "b"), each=4)
        expected = {}
        for case in cases:
            name = case["file"]
            suffix = name.rpartition(".")[2].lower()
            if suffix not in ("bmp", "gif", "jpg", "jpeg", "png", "ppm", "tif", "tiff", "webp"):
                continue
            shutil.copy(FIXTURES / "probe_formats" / name, probe / "a" / name)
            header = (FIXTURES / "probe_formats" / name).read_bytes()[:4]
            expected[f"a/{name}"] = case["verify_image"] and header[:4] not in (b"GIF8", b"\0\0\1\0")
        done = self.ursa.ok("dataset", "import", "probe", probe, "--split", "random:0.2:seed=1")
        refused = {r["source"]: r["reason"] for r in done["refused"]}
        self.assertTrue(all(refused.values()))
        self.assertEqual({n for n, good in expected.items() if not good}, set(refused))

    def test_recipes(self):
        recipe = write_recipe(self.folder, "good", slots=1)
        typo = self.folder / "typo.textproto"
        typo.write_text(recipe.read_text().replace("fine_tune", "fine_tuna"))
        self.refused(2, "experiment", "create", typo, says=["fine_tuna"])
        self.refused(2, "experiment", "create", recipe, "--set", "train.fine_tune.epoch=1", says=["epoch"])
        for setting, word in [("train.fine_tune.epochs=0", "epochs"), ("data.batch_size=7000", "batch"), ("model.architecture=vgg", "vgg"),
                              ("model.architecture=resnet18", "resnet18"), ("data.item_transforms.resize.method=stretch", "stretch"),
                              ("train.metrics=[\"speed\"]", "speed"), ("dataset=polar", "polar"), ("resources.slots_per_trial=64", "64")]:
            with self.subTest(setting):
                answer = self.ursa.run("experiment", "create", recipe, "--set", setting)
                self.assertIn(answer.status, (1, 2), answer.out)
                self.assertIn(word, answer.err)
        self.assertEqual(self.ursa.ok("status")["experiments_running"], 0)

    def test_names_and_references(self):
        self.refused(1, "model", "show", "nobody", says=["nobody"])
        self.refused(1, "experiment", "show", "e999", says=["e999"])
        self.refused(1, "evaluate", "nobody@1", "good", says=["nobody"])
        self.refused(2, "modle", "list", says=["model"])
        self.refused(2, "model", "list", "--colour", says=["--colour"])
        self.assertIn(self.ursa.run("dataset", "import", "../up", self.folder / "good").status, (1, 2))

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            folder = self.fresh("port")
            answer = self.ursa.run("up", "--dir", folder, "--port", port, "--detach")
            self.assertEqual(answer.status, 1)
            self.assertIn(str(port), answer.err)
            self.ursa.run("down", "--dir", folder)

    def test_second_coordinator_on_a_folder(self):
        done = subprocess.run([str(BIN / "ursa-coordinator"), "--dir", str(self.ursa.folder)], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("in use", done.stderr)
        self.assertEqual(self.ursa.ok("status")["workers"], 1)

    def test_killed_upload_leaves_nothing_and_goes_on_where_it_was(self):
        big = self.fresh("big")
        draw_stripes(big, each=6)
        noise = random.Random(1)
        for label in ("across", "down"):
            (big / label / "noise.ppm").write_bytes(b"P6 3000 3000 255\n" + noise.randbytes(3 * 3000 * 3000))
        words = ["dataset", "import", "big", big, "--split", "random:0.2:seed=1"]
        stored_before = self.stored_bytes()
        with Wire(self.ursa.env["URSA_SERVER"], hold_after=HELD_BYTES) as wire:
            upload = subprocess.Popen([str(BIN / "ursa"), *map(str, words)], env=dict(self.ursa.env, URSA_SERVER=wire.address),
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_until(wire.is_held, 60, "an upload under way")
                wait_until(lambda: self.stored_bytes() >= stored_before + HELD_BYTES - SLACK_BYTES, 60, "its bytes in the store")
                self.assertIsNone(upload.poll(), "it is killed while it sends")
            finally:
                upload.kill()
                upload.wait()
        names = [d["name"] for d in json.loads(self.ursa.ok("dataset", "list").out.splitlines()[-1])["datasets"]]
        self.assertIn("good", names)
        self.assertNotIn("big", names)
        self.refused(1, "dataset", "show", "big", says=["big"])
        with Wire(self.ursa.env["URSA_SERVER"]) as wire:
            again = self.ursa.ok(*words, env=dict(self.ursa.env, URSA_SERVER=wire.address))
        total = sum(path.stat().st_size for path in big.rglob("*.*"))
        self.assertLess(wire.sent, total - HELD_BYTES + SLACK_BYTES, "bytes that were there are not sent again")
        self.assertGreater(wire.sent, total - HELD_BYTES - SLACK_BYTES, "the others are")
        with Cluster(slots=1) as other:
            calm = other.ok(*words)
        self.assertEqual({k: v for k, v in json.loads(again.out).items() if k not in ("create_time", "import_name")},
                         {k: v for k, v in json.loads(calm.out).items() if k not in ("create_time", "import_name")})
        self.assertEqual((again["num_examples"], again["refused"]), (14, []))

    def stored_bytes(self):
        size = 0
        for path in (self.ursa.folder / "data").iterdir():
            with contextlib.suppress(FileNotFoundError):  # files of the store come and go
                size += path.stat().st_size
        return size

    def test_full_disk(self):
        """On a small file system of its own: what cannot be stored is refused, what was stored stays, the server lives."""
        disk = self.fresh("disk")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(disk)], capture_output=True).returncode:
            self.skipTest("this machine does not allow mounts")
        try:
            with Cluster(slots=1, folder=disk / "ursa") as small:
                small.ok("dataset", "import", "good", self.folder / "good", "--split", "random:0.2:seed=1")
                more = self.fresh("more")
                draw_stripes(more, each=6, seed=8)
                free = os.statvfs(disk)
                filler = disk / "filler"
                with open(filler, "wb") as out:
                    os.posix_fallocate(out.fileno(), 0, free.f_bavail * free.f_frsize - (20 << 20))
                answer = small.run("dataset", "import", "more", more, "--split", "random:0.2:seed=1")
                self.assertEqual(answer.status, 1, answer.out)
                self.assertIn("disk", answer.err)
                self.assertEqual(small.ok("status")["workers"], 1)
                self.assertEqual(small.ok("dataset", "show", "good")["num_examples"], 24)
                filler.unlink()
                self.assertEqual(small.ok("dataset", "import", "more", more, "--split", "random:0.2:seed=1")["num_examples"], 12)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)


if __name__ == "__main__":
    xml_report.main()
