#!/usr/bin/env python3
"""kill -9 of a rank, of the coordinator and of the worker in the middle of training: the job ends bit-equal to undisturbed. A rank
that is stopped is found and named. With a lost worker, and no slot elsewhere, no step is lost."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "tools")]
sys.dont_write_bytecode = True
from cluster import BIN, Cluster, draw_stripes, wait_until, write_recipe  # noqa: E402
import xml_report  # noqa: E402

ENDED = ("COMPLETED", "ERROR", "CANCELED")
COMPARED = ("train_loss", "valid_loss", "error_rate", "accuracy")


def warm_spare(ursa):
    """The process that waits for a task with its libraries loaded, or None."""
    log = (ursa.folder / "log/worker.log").read_text()
    return next((pid for pid, _ in ursa.processes("ursa-spare") if f"spare READY pid={pid}\n" in log), None)


def train(kills):
    """Trains on two ranks; every dozen steps kills the next program, a rank when there is a spare to take its place. Returns metric
    points, artifact hash, what `show` said, spares and which of them were seen as tasks."""
    with tempfile.TemporaryDirectory() as scratch, Cluster() as ursa:
        draw_stripes(pathlib.Path(scratch, "stripes"), each=40)
        ursa.ok("dataset", "import", "stripes", pathlib.Path(scratch, "stripes"), "--split", "random:0.2:seed=42")
        job = ursa.ok("experiment", "create", write_recipe(scratch, "stripes", epochs=14))["experiment_id"]
        waiting, next_step, resumed, shown, spares, taken = list(kills), 5, set(), None, set(), set()

        def ended():
            nonlocal next_step, shown
            taken.update(pid for pid, command in ursa.processes("ursa-task") if pid in spares and "--task t1.1 --rank" in command)
            answer = ursa.run("experiment", "show", job)
            if answer.status != 0:
                return False
            shown = answer
            resumed.add(answer["resumed_from_step"])
            if answer["state"] in ENDED:
                return True
            if waiting[:1] == ["ursa-task"] and answer["step"] >= next_step:
                spare = warm_spare(ursa)
                if spare is None:
                    return False
                spares.add(spare)
            if waiting and answer["step"] >= next_step and ursa.kill(waiting[0]):
                next_step = answer["step"] + 12
                if waiting.pop(0) != "ursa-task":
                    ursa.up()
            return False

        wait_until(ended, 240, f"the end of {job}")
        points = {(p["name"], p["step"]): p["value"] for p in ursa.ok("experiment", "metrics", job)["points"] if p["name"] in COMPARED}
        version = ursa.ok("model", "register", "stripes", "--experiment", job, "--checkpoint", "last")
        assert ursa.ok("audit", "verify")["ok"] is True
        return {"state": shown["state"], "reason": shown["reason"], "restarts": shown["restarts"], "resumed": resumed, "left": waiting,
                "spares": spares, "taken": taken, "points": points, "artifact": version["artifact_hash"]}


class KillTest(unittest.TestCase):
    def test_a_killed_run_ends_bit_equal(self):
        calm = train([])
        storm = train(["ursa-task", "ursa-coordinator", "ursa-worker"])
        self.assertEqual((calm["state"], storm["state"]), ("COMPLETED", "COMPLETED"), storm["reason"])
        self.assertEqual(storm["left"], [], "every planned kill is made")
        self.assertEqual((len(storm["spares"]), storm["taken"]), (1, storm["spares"]), "the spare took the place of the rank")
        self.assertEqual(calm["restarts"], 0)
        self.assertGreaterEqual(storm["restarts"], 1)
        self.assertGreater(max(storm["resumed"]), 0, "it resumed, not started afresh")
        self.assertGreaterEqual(len(calm["points"]), 40)
        self.assertEqual(calm["points"], storm["points"])
        self.assertEqual(calm["artifact"], storm["artifact"])


class StopTest(unittest.TestCase):
    def test_a_stopped_rank_is_named_and_goes_on(self):
        with tempfile.TemporaryDirectory() as scratch, Cluster() as ursa:
            draw_stripes(pathlib.Path(scratch, "stripes"), each=40)
            ursa.ok("dataset", "import", "stripes", pathlib.Path(scratch, "stripes"), "--split", "random:0.2:seed=42")
            job = ursa.ok("experiment", "create", write_recipe(scratch, "stripes", epochs=8))["experiment_id"]
            wait_until(lambda: ursa.ok("experiment", "show", job)["step"] >= 4, 120, f"the first steps of {job}")
            pid, command = next(found for found in ursa.processes("ursa-task") if "--rank 1" in found[1])
            os.kill(pid, signal.SIGSTOP)
            silent = wait_until(lambda: "silent" in (why := ursa.ok("experiment", "why", job)["reason"]) and why, 60, "the doctor's sentence")
            self.assertRegex(silent, r"^runs on w1; rank 1 on w1 is silent: its process does not run since \d\d:\d\d:\d\d UTC \(\d+ s\); ")
            self.assertRegex(silent, r"; rank 0 waits in [a-z-]+ \d+$")
            self.assertIn("rank 1 on w1 is silent", ursa.ok("experiment", "show", job)["reason"])
            os.kill(pid, signal.SIGCONT)
            shown = wait_until(lambda: (s := ursa.ok("experiment", "show", job))["state"] in ENDED and s, 240, f"the end of {job}")
            self.assertEqual((shown["state"], shown["restarts"], shown["reason"]), ("COMPLETED", 0, ""))


class LossTest(unittest.TestCase):
    """Two workers that nobody starts anew, of one slot each, in a pool of their own."""

    def lose_worker_of(self, rank):
        with tempfile.TemporaryDirectory() as scratch, Cluster(slots=1) as ursa, contextlib.ExitStack() as workers:
            for name in ("one", "two"):
                command = [str(BIN / "ursa-worker"), "--dir", str(ursa.folder / name), "--server", ursa.env["URSA_SERVER"],
                           "--token_file", str(ursa.folder / "worker.token"), "--slots", "1", "--pool", "pair"]
                log = workers.enter_context(open(ursa.folder / f"{name}.log", "wb"))
                worker = workers.enter_context(subprocess.Popen(command, env=ursa.env, stdout=log, stderr=log))
                workers.callback(worker.kill)
            wait_until(lambda: len(ursa.ok("worker", "list")["workers"]) == 3, 60, "the workers")
            draw_stripes(pathlib.Path(scratch, "stripes"), each=40)
            ursa.ok("dataset", "import", "stripes", pathlib.Path(scratch, "stripes"), "--split", "random:0.2:seed=42")
            recipe = write_recipe(scratch, "stripes", epochs=6)
            elastic = ["--set", "resources.pool=pair", "--set", "resources.min_slots_per_trial=1", "--set", "checkpoint.every_steps=1000"]
            job = ursa.ok("experiment", "create", recipe, *elastic)["experiment_id"]
            # In the middle of an epoch of 8 steps: only at its end would there be a checkpoint.
            step = wait_until(lambda: 3 <= (step := ursa.ok("experiment", "show", job)["step"]) % 8 <= 5 and step, 120, "steps")
            of_rank = next(command for _, command in ursa.processes("ursa-task") if f"--rank {rank} " in command)
            folder = next(str(ursa.folder / name) for name in ("one", "two") if str(ursa.folder / name) in of_rank)
            for pid, command in ursa.processes():
                if folder in command:
                    os.kill(pid, signal.SIGKILL)
            shown = wait_until(lambda: (s := ursa.ok("experiment", "show", job))["state"] in ENDED and s, 240, f"the end of {job}")
            self.assertEqual(shown["state"], "COMPLETED", shown["reason"])
            # Not a restart, although the other rank sees that its group is lost before the worker's lease ends.
            self.assertEqual((shown["moves"], shown["restarts"]), (1, 0))
            self.assertGreaterEqual(shown["resumed_from_step"], step)

    def test_an_elastic_job_loses_no_step_with_a_worker(self):
        self.lose_worker_of(rank=1)

    def test_nor_with_the_worker_of_rank_0(self):
        self.lose_worker_of(rank=0)


if __name__ == "__main__":
    xml_report.main()
