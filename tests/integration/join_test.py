#!/usr/bin/env python3
"""Machines join with one-time tokens over TLS, work where their labels fit, and are thrown out again."""

import os
import pathlib
import re
import shutil
import stat
import sys
import tempfile
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "tools")]
sys.dont_write_bytecode = True
from cluster import draw_stripes, wait_until, write_recipe  # noqa: E402
from daemons import Daemons, make_certificates  # noqa: E402
import xml_report  # noqa: E402


class JoinTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        make_certificates(cls.folder)
        cls.ursa = cls.enterClassContext(Daemons(cls.folder))
        cls.ursa.env["URSA_SERVER"] = cls.ursa.server
        cls.ursa.env["URSA_TLS_ROOTS"] = str(cls.folder / "ca.pem")

    def workers(self):
        return {worker["id"]: worker for worker in self.ursa.ok("worker", "list")["workers"]}

    def alive(self):
        return {name for name, worker in self.workers().items() if worker["state"] == "ALIVE"}

    def recipe(self, label):
        """One that asks for the label."""
        path = write_recipe(self.folder, "stripes", slots=1)
        name, _, value = label.partition("=")
        text = path.read_text().replace("slots_per_trial: 1", f'slots_per_trial: 1 labels {{ name: "{name}" value: "{value}" }}')
        path.write_text(text)
        return path

    def test_a_life(self):
        invite = self.ursa.ok("worker", "invite", "--label", "gpu=h100", "--pool", "default", "--valid", "10m")
        token = invite["join_token"]
        self.assertEqual((invite["pool"], invite["labels"]), ("default", [{"name": "gpu", "value": "h100"}]))
        with self.ursa.joined("left", "--name", "left", "--slots", "2", token=token) as left_log:
            wait_until(lambda: self.alive() == {"w1"}, 30, "the first worker")
            first = self.workers()["w1"]
            self.assertEqual((first["display_name"], first["joined"], first["slots"], first["free"]), ("left", True, 2, 2))
            credential = self.folder / "left/worker/credential"
            self.assertEqual(stat.S_IMODE(credential.stat().st_mode), 0o600)

            # What is not needed is taken back, and nobody joins with it.
            spare = self.ursa.ok("worker", "invite", "--valid", "1m")
            listed = self.ursa.ok("worker", "invitations")["invitations"]
            self.assertEqual([(i["id"], i["worker_id"]) for i in listed], [(invite["id"], "w1"), (spare["id"], "")])
            self.ursa.ok("worker", "revoke", spare["id"])
            with self.ursa.joined("spare", token=spare["join_token"], status=1) as spare_log:
                wait_until(lambda: "error: " in spare_log.read_text(), 30, "the revoked token is refused")
            self.assertIn("token: is not valid", spare_log.read_text())
            self.assertEqual(self.ursa.run("worker", "revoke", invite["id"]).status, 1)  # it is used

            # The token is used up; and it is no token of a worker, or of a person.
            with self.ursa.joined("thief", token=token, status=1) as thief_log:
                wait_until(lambda: "error: " in thief_log.read_text(), 30, "the thief is refused")
            self.assertIn("worker w1 has joined with it", thief_log.read_text())
            stranger = self.ursa.run("status", env=dict(self.ursa.env, URSA_TOKEN_FILE=str(self.folder / "left.token")))
            self.assertEqual(stranger.status, 1, stranger.err)
            # Nor can one worker's credential speak for another.
            other = self.ursa.ok("worker", "invite")["join_token"]
            with self.ursa.joined("right", "--label", "gpu=a100", token=other) as right_log:
                wait_until(lambda: self.alive() == {"w1", "w2"}, 30, "the second worker")
                shutil.copytree(self.folder / "right/worker", self.folder / "copy/worker", ignore=shutil.ignore_patterns("cache", "lock"))
                (self.folder / "copy/worker/worker.id").write_text("w1\n")
                with self.ursa.joined("copy", status=1) as copy_log:
                    wait_until(lambda: "error: " in copy_log.read_text(), 30, "the copy is refused")
                self.assertIn("the credential is that of w2", copy_log.read_text())

                self.train_where_the_label_is(left_log, right_log)

        self.secrets_are_hashed([token, other, credential.read_text().strip()])
        self.come_back_and_be_removed()

    def train_where_the_label_is(self, left_log, right_log):
        draw_stripes(self.folder / "stripes", each=8)
        self.ursa.ok("dataset", "import", "stripes", self.folder / "stripes", "--split", "random:0.25:seed=1")
        nowhere = self.ursa.ok("experiment", "create", self.recipe("gpu=none"))["experiment_id"]
        self.assertEqual(self.ursa.ok("experiment", "why", nowhere)["reason"], "0 of 2 workers in pool default have label gpu=none")
        done = self.ursa.ok("experiment", "create", self.recipe("gpu=a100"), "--follow")
        self.assertEqual(done["state"], "COMPLETED", done.out)
        started = re.compile(rf"task=t{done['experiment_id'][1:]}\.1\S* STARTED")
        self.assertRegex(right_log.read_text(), started)
        self.assertNotRegex(left_log.read_text(), started)
        self.ursa.ok("experiment", "cancel", nowhere)

    def secrets_are_hashed(self, secrets):
        """What is at rest at the coordinator has none of them."""
        num_read = 0
        for path in [self.folder / "coordinator.log", *(self.folder / "coordinator").rglob("*")]:
            try:
                content = path.read_bytes()
            except OSError:  # a folder, or the store has dropped it
                continue
            num_read += 1
            for secret in secrets:
                self.assertNotIn(secret.encode(), content, path)
        self.assertGreater(num_read, 3)

    def come_back_and_be_removed(self):
        wait_until(lambda: self.workers()["w1"]["state"] == "LOST", 30, "it is missed")
        with self.ursa.joined("left", status=1) as log:  # without the token: by its own credential
            wait_until(lambda: "w1" in self.alive(), 30, "it is back")
            self.assertEqual(self.workers()["w1"]["labels"], [{"name": "gpu", "value": "h100"}])
            self.ursa.ok("worker", "remove", "w1")
            wait_until(lambda: "error: worker w1: was removed" in log.read_text(), 30, "it ends")
        self.assertNotIn("w1", self.workers())
        with self.ursa.joined("left", status=1) as log:
            wait_until(lambda: "error: " in log.read_text(), 30, "it is refused")
        self.assertIn("token: is not valid", log.read_text())
        self.assertIn("was this worker removed?", log.read_text())
        again = self.ursa.run("worker", "remove", "w1")
        self.assertEqual(again.status, 1)
        self.assertTrue(self.ursa.ok("audit", "verify")["ok"])

    def test_plain_text_beyond_this_machine_is_refused(self):
        with self.ursa.joined("plain", "--server", "10.0.0.1:7070", token="x", status=2) as log:
            wait_until(lambda: "error: " in log.read_text(), 30, "it is refused")
        self.assertIn("plain text", log.read_text())


if __name__ == "__main__":
    xml_report.main()
