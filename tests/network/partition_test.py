#!/usr/bin/env python3
"""Coordinator and worker on two hosts, and the cable between them cut while a job trains: it goes on, and ends bit-equal."""

import os
import pathlib
import sys
import tempfile
import time
import unittest

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(_ROOT, "tests/integration"), os.path.join(_ROOT, "tools")]
sys.dont_write_bytecode = True
from cluster import draw_stripes, wait_until, write_recipe  # noqa: E402
from daemons import Daemons, make_certificates  # noqa: E402
from two_hosts import HERE, NotAllowed, TwoHosts  # noqa: E402
import xml_report  # noqa: E402

LONG_CUT = 60  # far beyond the lease of 3 s
SHORT_CUT = 1  # within it
COMPARED = ("train_loss", "valid_loss", "error_rate", "accuracy")


class PartitionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            cls.hosts = TwoHosts()
        except NotAllowed as reason:
            raise unittest.SkipTest(f"this system does not allow two hosts as network namespaces: {reason}") from reason
        cls.addClassCleanup(cls.hosts.close)
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        make_certificates(cls.folder, f"IP:{HERE}")
        cls.ursa = cls.enterClassContext(Daemons(cls.folder, HERE))
        cls.ursa.env.update(URSA_SERVER=cls.ursa.server, URSA_TLS_ROOTS=str(cls.folder / "ca.pem"))
        cls.enterClassContext(cls.ursa.worker(cls.ursa.server, "there", "--ca_file", cls.folder / "ca.pem", "--slots", "2",
                                              prefix=cls.hosts.there))
        wait_until(cls.num_workers, 30, "the worker")
        draw_stripes(cls.folder / "stripes", each=40)
        cls.ursa.ok("dataset", "import", "stripes", cls.folder / "stripes", "--split", "random:0.2:seed=42")
        cls.calm = cls.train(lambda job: None)

    @classmethod
    def num_workers(cls):
        return cls.ursa.ok("status")["workers"]

    @classmethod
    def train(cls, disturb):
        """Trains on two ranks; `disturb(job)` once it is on its way. What `show` said at the end, with its metric points."""
        recipe = write_recipe(cls.folder, "stripes", epochs=6, checkpoint_steps=4)
        job = cls.ursa.ok("experiment", "create", recipe)["experiment_id"]
        wait_until(lambda: cls.step(job) >= 5, 60, f"the first steps of {job}")
        disturb(job)
        shown = wait_until(lambda: (answer := cls.ursa.ok("experiment", "show", job))["state"] in ("COMPLETED", "ERROR", "CANCELED") and answer,
                           120, f"the end of {job}")
        points = {(p["name"], p["step"]): p["value"] for p in cls.ursa.ok("experiment", "metrics", job)["points"] if p["name"] in COMPARED}
        return {"state": shown["state"], "reason": shown["reason"], "points": points, "restarts": shown["restarts"]}

    @classmethod
    def step(cls, job):
        return cls.ursa.ok("experiment", "show", job)["step"]

    def cut(self, seconds):
        """A disturbance that also says how long the worker and the training took to come back."""
        def disturb(job):
            with self.hosts.partition():
                time.sleep(seconds)  # tidy: allow(sleep-in-test) the length of the cut is the test
                self.seen_lost = self.num_workers() == 0
                last_step = self.step(job)
            healed = time.monotonic()
            wait_until(self.num_workers, 30, "the worker is back")
            back = time.monotonic() - healed
            wait_until(lambda: self.step(job) > last_step, 60, "training goes on")
            print(f"cut of {seconds} s: worker back {back:.2f} s after healing, training seen to go on after {time.monotonic() - healed:.2f} s",
                  flush=True)
        return disturb

    def expect_bit_equal(self, run):
        self.assertEqual(run["state"], "COMPLETED", run["reason"])
        self.assertGreaterEqual(len(run["points"]), 24)
        self.assertEqual(run["points"], self.calm["points"])
        self.assertIs(self.ursa.ok("audit", "verify")["ok"], True)

    def test_a_cut_beyond_the_lease(self):
        run = self.train(self.cut(LONG_CUT))
        self.assertTrue(self.seen_lost, "the coordinator counts the worker as lost")
        self.expect_bit_equal(run)

    def test_a_cut_within_the_lease_restarts_nothing(self):
        run = self.train(self.cut(SHORT_CUT))
        self.assertFalse(self.seen_lost)
        self.assertEqual(run["restarts"], 0)
        self.expect_bit_equal(run)


if __name__ == "__main__":
    xml_report.main()
