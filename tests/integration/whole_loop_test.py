#!/usr/bin/env python3
"""Photos in, a promoted model out, on small drawn pictures: every command of the loop, with the files and processes that users have."""

import math
import os
import pathlib
import sys
import tempfile
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "tools")]
sys.dont_write_bytecode = True
from cluster import Cluster, draw_stripes, wait_until, write_png, write_recipe  # noqa: E402
import xml_report  # noqa: E402


class WholeLoopTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.ursa = cls.enterClassContext(Cluster(slots=2))
        draw_stripes(cls.folder / "stripes", each=30)
        (cls.folder / "stripes/down/broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
        (cls.folder / "stripes/NOTES.txt").write_text("ignored and counted")

    def test_the_loop(self):
        ursa, folder = self.ursa, self.folder
        first_import = ursa.ok("dataset", "import", "stripes", folder / "stripes", "--split", "random:0.2:seed=42")
        self.assertEqual((first_import["num_examples"], first_import["num_train"], first_import["num_valid"]), (60, 48, 12))
        self.assertEqual(first_import["classes"], ["across", "down"])
        self.assertEqual([r["source"] for r in first_import["refused"]], ["down/broken.png"])
        self.assertEqual(first_import["num_ignored"], 1)
        again = ursa.ok("dataset", "import", "stripes", folder / "stripes", "--split", "random:0.2:seed=42")
        self.assertEqual((again["version"], again["manifest_hash"]), (1, first_import["manifest_hash"]))

        job = ursa.ok("experiment", "create", write_recipe(folder, "stripes"), "--follow")
        self.assertEqual(job["state"], "COMPLETED")
        self.assertEqual(set(job["metrics"]), {"train_loss", "valid_loss", "error_rate", "accuracy"})
        self.assertEqual([set(row["metrics"]) - set(job["metrics"]) for row in job["epochs"]], 2 * [{"seconds"}])
        names = {p["name"] for p in ursa.ok("experiment", "metrics", job["experiment_id"])["points"]}
        self.assertLessEqual({"train_loss", "valid_loss", "error_rate", "accuracy"}, names)
        self.assertIn("epoch 0", ursa.run("experiment", "logs", job["experiment_id"]).out)

        v1 = ursa.ok("model", "register", "stripes", "--experiment", job["experiment_id"], "--checkpoint", "last")
        self.assertEqual(v1["version"], 1)
        self.assertEqual(ursa.run("model", "promote", "stripes@1").status, 1, "no evaluation yet: no evidence")
        evaluation = ursa.ok("evaluate", "stripes@1", "stripes", "--split", "valid")
        self.assertEqual((evaluation["num_examples"], evaluation["new_predictions"]), (12, 12))
        self.assertEqual(sum(map(sum, evaluation["confusion"])), 12)
        self.assertAlmostEqual(evaluation["metrics"]["accuracy"]["value"], 1 - job["metrics"]["error_rate"], places=6)
        self.assertEqual(ursa.ok("evaluate", "stripes@1", "stripes", "--split", "valid")["new_predictions"], 0)
        self.assertEqual(ursa.ok("model", "promote", "stripes@1")["champion"], 1)

        other = ursa.ok("experiment", "create", write_recipe(folder, "stripes", slots=1), "--set", "seed=9", "--follow")
        ursa.ok("model", "register", "stripes", "--experiment", other["experiment_id"], "--checkpoint", "best")
        refused = ursa.run("model", "promote", "stripes@2")
        self.assertIn(refused.status, (1, 3))
        self.assertIn("compar", refused.err)
        compared = ursa.run("compare", "stripes@2", "stripes:champion", "stripes", "--split", "valid")
        self.assertEqual({"pass": 0, "fail": 3, "need_more_data": 4}[compared["verdict"]], compared.status)
        b, c = compared["candidate_only_right"], compared["baseline_only_right"]
        exact = min(1.0, 2 * sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c))
        self.assertAlmostEqual(compared["p_value"], exact, places=12)
        ursa.ok("model", "promote", "stripes@2", "--force", "--why", "test", "--expect-champion", "1")
        stale = ursa.run("model", "promote", "stripes@1", "--force", "--why", "stale", "--expect-champion", "1")
        self.assertEqual(stale.status, 1, stale.err)
        self.assertEqual(ursa.ok("model", "rollback", "stripes")["champion"], 1)
        moves = [e for e in ursa.ok("model", "history", "stripes")["events"] if e["to_version"]]
        self.assertEqual([m["to_version"] for m in moves if m["action"] != "register"], [1, 2, 1])
        self.assertTrue(ursa.ok("audit", "verify")["ok"])

        photo = folder / "stripes/across/000.png"
        (folder / "torn.png").write_bytes(photo.read_bytes()[:100])
        answer = ursa.run("predict", "stripes:champion", photo, folder / "torn.png")
        predictions = answer["predictions"]
        self.assertAlmostEqual(sum(predictions[0]["probabilities"].values()), 1, places=5)
        self.assertEqual(predictions[0]["label"], max(predictions[0]["probabilities"], key=predictions[0]["probabilities"].get))

    def test_token_files_are_private_and_needed(self):
        self.assertEqual(os.stat(self.ursa.env["URSA_TOKEN_FILE"]).st_mode & 0o077, 0)
        wrong = self.folder / "token"
        wrong.write_text("not-a-token")
        self.assertEqual(self.ursa.run("model", "list", env=dict(self.ursa.env, URSA_TOKEN_FILE=str(wrong))).status, 1)
        self.assertEqual(self.ursa.run("status", env=dict(self.ursa.env, URSA_SERVER="127.0.0.1:1")).status, 5)

    def test_pause_and_resume(self):
        draw_stripes(self.folder / "pausing", each=30, seed=5)
        self.ursa.ok("dataset", "import", "pausing", self.folder / "pausing", "--split", "stratified:0.2:seed=1")
        job = self.ursa.ok("experiment", "create", write_recipe(self.folder, "pausing", epochs=6))["experiment_id"]
        wait_until(lambda: self.ursa.ok("experiment", "show", job)["step"] >= 2, 90, "the second step")
        self.ursa.ok("experiment", "pause", job)
        wait_until(lambda: self.ursa.ok("status")["slots_free"] == 2, 60, "its slots come back")
        paused = self.ursa.ok("experiment", "show", job)
        self.assertEqual((paused["state"], paused["restarts"]), ("PAUSED", 0))
        self.ursa.ok("experiment", "resume", job)
        wait_until(lambda: self.ursa.ok("experiment", "show", job)["state"] == "COMPLETED", 120, "the end after resuming")
        self.assertGreater(self.ursa.ok("experiment", "show", job)["resumed_from_step"], 0)

    def test_cancel(self):
        write_png(self.folder / "cancel/a/x.png", 8, 8, lambda x, y: (x, y, 0))
        draw_stripes(self.folder / "cancel", each=30, seed=6)
        self.ursa.ok("dataset", "import", "cancel", self.folder / "cancel", "--split", "random:0.2:seed=1")
        job = self.ursa.ok("experiment", "create", write_recipe(self.folder, "cancel", epochs=50))["experiment_id"]
        self.ursa.ok("experiment", "cancel", job)
        wait_until(lambda: self.ursa.ok("experiment", "show", job)["state"] == "CANCELED", 60, "the cancellation")
        wait_until(lambda: self.ursa.ok("status")["slots_free"] == 2, 60, "its slots come back")


if __name__ == "__main__":
    xml_report.main()
