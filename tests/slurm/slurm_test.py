#!/usr/bin/env python3
"""`ursa cluster slurm` against a real Slurm: workers come as jobs when something waits, train, and go when they are idle."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

_ROOT = os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(_ROOT, "tests/integration"), os.path.join(_ROOT, "tools")]
sys.dont_write_bytecode = True
from cluster import BIN, draw_stripes, wait_until, write_recipe  # noqa: E402
from daemons import Daemons, make_certificates  # noqa: E402
from one_node_slurm import NotAvailable, OneNodeSlurm  # noqa: E402
import xml_report  # noqa: E402

POOL = "batch"
LIVE = "COMPLETING,CONFIGURING,PENDING,RUNNING"


class SlurmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            slurm = OneNodeSlurm(cpus=4)
        except NotAvailable as reason:
            raise unittest.SkipTest(f"skipped: {reason}") from reason
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        make_certificates(cls.folder)
        cls.ursa = cls.enterClassContext(Daemons(cls.folder, flags=["--elastic_pools", f"{POOL}=cpu:2x1:1"]))
        cls.slurm = cls.enterClassContext(slurm)
        (cls.folder / "tmp").mkdir()
        cls.ursa.env.update(URSA_SERVER=cls.ursa.server, URSA_TLS_ROOTS=str(cls.folder / "ca.pem"), TMPDIR=str(cls.folder / "tmp"),
                            **{name: cls.slurm.env[name] for name in ("SLURM_CONF", "PATH")})
        # Imports and evaluations run beside the coordinator; the pool of the jobs is empty.
        cls.enterClassContext(cls.ursa.worker(cls.ursa.server, "head", "--ca_file", cls.folder / "ca.pem", "--pool", "head"))
        wait_until(lambda: cls.ursa.ok("status")["workers"], 30, "the worker beside the coordinator")
        draw_stripes(cls.folder / "stripes", each=16)
        cls.ursa.ok("dataset", "import", "stripes", cls.folder / "stripes", "--split", "random:0.25:seed=42")

    def words(self, *flags, token="coordinator/worker.token"):
        return ["cluster", "slurm", "--pool", POOL, "--slots-per-job", "1", "--jobs-max", "2", "--idle", "4s", "--ca-file", self.folder / "ca.pem",
                "--worker-token-file", self.folder / token, "--log-dir", self.folder, *flags]

    @contextlib.contextmanager
    def controller(self, **options):
        """Runs it; gives a function that lists its events so far, and one that kills it."""
        log = self.folder / f"controller-{self.id()}.log"
        with open(log, "ab") as out:
            process = subprocess.Popen([str(BIN / "ursa"), *map(str, self.words("--json", **options))], env=self.ursa.env, stdout=out, stderr=out)

        def events(what=None):
            found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
            return [event for event in found if what in (None, event["event"])]
        try:
            yield events, process.kill
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def submit(self, epochs=1):
        recipe = write_recipe(self.folder, "stripes", epochs=epochs, slots=2)
        return self.ursa.ok("experiment", "create", recipe, "--set", f"resources.pool={POOL}")["experiment_id"]

    def workers(self):
        """{id: worker} of those of the pool that are not lost."""
        return {w["id"]: w for w in self.ursa.ok("worker", "list")["workers"] if w["pool"] == POOL and w["state"] != "LOST"}

    def state(self, job):
        return self.ursa.ok("experiment", "show", job)["state"]

    def test_workers_come_train_and_go(self):
        job = self.submit()
        self.assertEqual(self.state(job), "QUEUED")
        planned = self.ursa.ok(*self.words("--once", "--dry-run"))
        self.assertEqual([json.loads(line)["event"] for line in planned.out.splitlines()], ["submit", "submit"], "a gang of two, one slot a job")
        before = self.slurm.jobs("all")
        self.assertEqual(self.slurm.jobs(LIVE), {})

        with self.controller() as (events, kill):
            wait_until(lambda: len(self.workers()) == 2, 40, "two workers as Slurm jobs")
            self.assertEqual(sorted(self.slurm.jobs(LIVE).values()), ["RUNNING", "RUNNING"])
            self.assertEqual(len(events("submit")), 2)
            kill()  # the next one takes its jobs over
        with self.controller() as (events, _):
            wait_until(lambda: self.state(job) in ("COMPLETED", "ERROR", "CANCELED"), 60, "the experiment ends")
            shown = self.ursa.ok("experiment", "show", job)
            self.assertEqual((shown["state"], shown["restarts"]), ("COMPLETED", 0), shown["reason"])
            # Idle for four seconds: given back, in order.
            wait_until(lambda: not self.slurm.jobs(LIVE), 40, "no job is left")
            self.assertEqual(len(events("submit")), 2, "none beyond those of the first controller")
            self.assertEqual((len(events("drain")), len(events("ask to end")), len(events("kill"))), (2, 2, 0), events())
        ours = {id: state for id, state in self.slurm.jobs("all").items() if id not in before}
        self.assertEqual(sorted(ours.values()), ["COMPLETED", "COMPLETED"])
        self.assertEqual(list((self.folder / "tmp").glob("ursa-worker-*")), [], "the jobs' folders are gone")
        for id in ours:
            self.assertIn("signal 15: shutting down", (self.folder / f"ursa-worker-{id}.log").read_text())

    def test_a_job_that_slurm_ends_is_replaced(self):
        job = self.submit(epochs=3)
        with self.controller() as (events, _):
            wait_until(lambda: self.ursa.ok("experiment", "show", job)["step"] >= 2, 60, "the first steps")
            gone = next(iter(self.slurm.jobs("RUNNING")))
            self.slurm.run("scancel", gone)  # all its processes are told, as when it is preempted
            wait_until(lambda: self.state(job) in ("COMPLETED", "ERROR", "CANCELED"), 60, "the experiment ends")
            self.assertEqual(self.state(job), "COMPLETED")
            self.assertEqual(len(events("submit")), 3)
            wait_until(lambda: not self.slurm.jobs(LIVE), 40, "no job is left")
        said = (self.folder / f"ursa-worker-{gone}.log").read_text()
        self.assertIn("signal 15: shutting down", said)
        self.assertNotIn("ending at once", said)

    def test_jobs_that_cannot_start_are_not_submitted_for_ever(self):
        (self.folder / "wrong.token").write_text("0123456789abcdef\n")
        job = self.submit()
        with self.controller(token="wrong.token") as (events, _):
            note = wait_until(lambda: next((e["why"] for e in events("note") if "starts in a row failed" in e["why"]), None), 60, "it backs off")
            self.assertIn("FAILED, NonZeroExitCode, exit code 1: error: ", note)
            self.assertIn("token", note)
            self.assertLessEqual(len(events("submit")), 6)
        self.ursa.ok("experiment", "cancel", job)
        self.assertEqual(self.slurm.jobs(LIVE), {})

    def test_a_mistake_is_said_at_once(self):
        for flags, status, words in [(["--partition", "nowhere", "--once"], 1, "Invalid partition name"),
                                     (["--idle", "soon"], 2, "--idle"),
                                     (["--kind", "tpu"], 2, "cpu, cuda"),
                                     (["--ca-file", "nowhere.pem"], 2, "twice")]:
            with self.subTest(flags=flags):
                job = self.submit() if status == 1 else None
                answer = self.ursa.run(*self.words(*flags))
                self.assertEqual(answer.status, status, answer.err)
                self.assertIn(words, answer.out + answer.err)
                if job:
                    self.ursa.ok("experiment", "cancel", job)


if __name__ == "__main__":
    xml_report.main()
