#!/usr/bin/env python3
"""A bad link between worker and coordinator while a job trains: slow, stalled, reset, closed late, narrow. Training goes on, the
coordinator hears of it again as soon as the link is well, and the metric points are those of an undisturbed training."""

import os
import pathlib
import statistics
import sys
import tempfile
import time
import unittest

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(_ROOT, "tests/integration"), os.path.join(_ROOT, "tools")]
sys.dont_write_bytecode = True
from cluster import draw_stripes, wait_until, write_recipe  # noqa: E402
from daemons import Daemons, make_certificates  # noqa: E402
from toxiproxy import PROGRAM, Toxiproxy  # noqa: E402
import xml_report  # noqa: E402

# As a destination it is this machine. To Ursa it is no loopback, so that the link is treated as one over a network.
ANYWHERE = "0.0.0.0"
COMPARED = ("train_loss", "valid_loss", "error_rate", "accuracy")
ENDED = ("COMPLETED", "ERROR", "CANCELED")
RECONCILE_GOAL = 2  # seconds; printed, not asserted: the machine may have other work
RECONCILE_LIMIT = 30


def both_ways(kind, **attributes):
    return [(kind, stream, attributes) for stream in ("upstream", "downstream")]


class Trouble:
    """What is wrong with the link, for how long, and whether the coordinator must go on hearing of the training meanwhile."""

    def __init__(self, name, seconds, toxics, is_heard=False):
        self.name, self.seconds, self.toxics, self.is_heard = name, seconds, toxics, is_heard


TROUBLES = [
    Trouble("200 ms late, give or take 100", 3, both_ways("latency", latency=200, jitter=100), is_heard=True),
    Trouble("100 KB/s", 4, both_ways("bandwidth", rate=100), is_heard=True),
    Trouble("stalled within the lease", 2, both_ways("latency", latency=60_000)),
    Trouble("stalled beyond the lease", 5, both_ways("latency", latency=60_000)),
    Trouble("bytes lost on the way", 2, both_ways("timeout", timeout=0)),
    Trouble("reset after 300 ms", 2, both_ways("reset_peer", timeout=300)),
    Trouble("closed after 20 KB, told 1 s late", 3, both_ways("limit_data", bytes=20_000) + both_ways("slow_close", delay=1000)),
    Trouble("refused", 2, None),
]


@unittest.skipUnless(os.access(PROGRAM, os.X_OK), f"no {PROGRAM} (hint: tools/setup --checks)")
class ToxicTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        make_certificates(cls.folder, f"IP:127.0.0.1,IP:{ANYWHERE}")
        cls.ursa = cls.enterClassContext(Daemons(cls.folder))
        cls.ursa.env.update(URSA_SERVER=cls.ursa.server, URSA_TLS_ROOTS=str(cls.folder / "ca.pem"))
        cls.proxy = cls.enterClassContext(Toxiproxy(cls.ursa.server.removeprefix("https://"), cls.folder / "toxiproxy.log"))
        server = f"https://{ANYWHERE}:{cls.proxy.target.rpartition(':')[2]}"
        cls.enterClassContext(cls.ursa.worker(server, "worker", "--ca_file", cls.folder / "ca.pem", "--slots", "2"))
        wait_until(cls.is_worker_there, 30, "the worker")
        draw_stripes(cls.folder / "stripes", each=40)
        cls.ursa.ok("dataset", "import", "stripes", cls.folder / "stripes", "--split", "random:0.2:seed=42")

    @classmethod
    def is_worker_there(cls):
        return cls.ursa.ok("status")["workers"] == 1

    def num_lost(self):
        """How often the coordinator has lost the worker: each time what ran there is started anew from its checkpoint."""
        return (self.folder / "coordinator.log").read_text().count("->LOST")

    def start(self):
        recipe = write_recipe(self.folder, "stripes", epochs=6, checkpoint_steps=8)
        job = self.ursa.ok("experiment", "create", recipe)["experiment_id"]
        wait_until(lambda: self.show(job)["step"] >= 3, 60, f"the first steps of {job}")
        return job

    def show(self, job):
        return self.ursa.ok("experiment", "show", job)

    def has_ended(self, job):
        return self.show(job)["state"] in ENDED

    def points_of(self, job):
        """Its metric points by (name, step), once it has ended well."""
        wait_until(lambda: self.has_ended(job), 120, f"the end of {job}")
        shown = self.show(job)
        self.assertEqual(shown["state"], "COMPLETED", shown["reason"])
        return {(p["name"], p["step"]): p["value"] for p in self.ursa.ok("experiment", "metrics", job)["points"] if p["name"] in COMPARED}

    def has_news(self, job, before):
        now = self.show(job)
        return now["step"] > before["step"] or now["state"] in ENDED

    def disturb(self, job, trouble):
        """Makes trouble and heals it; how long after that the coordinator heard of new steps, or of the end."""
        before, num_lost_before = self.show(job), self.num_lost()
        with self.proxy.shut() if trouble.toxics is None else self.proxy.poisoned(*trouble.toxics):
            time.sleep(trouble.seconds)  # tidy: allow(sleep-in-test) the length of the trouble is the test
            if trouble.is_heard:
                wait_until(lambda: self.has_news(job, before), RECONCILE_LIMIT, f"the coordinator hears of steps while: {trouble.name}")
            at_its_end = self.show(job)
        healed = time.monotonic()
        wait_until(self.is_worker_there, RECONCILE_LIMIT, f"the worker is back after: {trouble.name}")
        back = time.monotonic() - healed
        wait_until(lambda: self.has_news(job, at_its_end), RECONCILE_LIMIT, f"reconciled after: {trouble.name}")
        took = time.monotonic() - healed
        num_lost = self.num_lost() - num_lost_before
        print(f"{trouble.name}: steps heard of meanwhile {at_its_end['step'] - before['step']}, worker lost {num_lost} times; after healing "
              f"back in {back:.2f} s, steps heard of in {took:.2f} s", flush=True)
        if trouble.is_heard:
            self.assertEqual(num_lost, 0, trouble.name)
        return took

    def test_training_goes_on_over_a_bad_link(self):
        calm = self.points_of(self.start())
        self.assertGreaterEqual(len(calm), 24)
        times, job = [], None
        for trouble in TROUBLES:
            if job is None or self.has_ended(job):
                self.assertTrue(job is None or self.points_of(job) == calm, f"{job} ended otherwise than undisturbed training")
                job = self.start()
            times.append(self.disturb(job, trouble))
        self.assertEqual(self.points_of(job), calm)
        print(f"{len(times)} troubles, steps heard of again after healing: median {statistics.median(times):.2f} s, longest {max(times):.2f} s; "
              f"over {RECONCILE_GOAL} s: {sum(took > RECONCILE_GOAL for took in times)}", flush=True)
        self.assertIs(self.ursa.ok("audit", "verify")["ok"], True)


if __name__ == "__main__":
    xml_report.main()
