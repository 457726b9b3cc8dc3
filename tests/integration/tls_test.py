#!/usr/bin/env python3
"""Beyond loopback: the coordinator on all addresses of this machine, behind TLS, with a client and a worker that trust its maker."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)), os.path.join(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"], "tools")]
sys.dont_write_bytecode = True
from cluster import BIN, draw_stripes, wait_until, write_recipe  # noqa: E402
from daemons import Daemons, make_certificates  # noqa: E402
import xml_report  # noqa: E402


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        make_certificates(cls.folder)
        cls.ursa = cls.enterClassContext(Daemons(cls.folder))

    def tls(self, roots="ca.pem", server=None):
        return dict(self.ursa.env, URSA_SERVER=server or self.ursa.server, URSA_TLS_ROOTS=str(self.folder / roots) if roots else "")

    def test_a_coordinator_that_cannot_be_reached_safely_does_not_start(self):
        for flags, words in [([], "needs TLS"),
                             (["--tls_cert", "host.pem"], "given together"),
                             (["--tls_cert", "host.pem", "--tls_key", "ca.key"], "not that of the certificate"),
                             (["--tls_cert", "names", "--tls_key", "host.key"], "not in PEM"),
                             (["--tls_cert", "nowhere.pem", "--tls_key", "host.key"], "nowhere.pem")]:
            with self.subTest(flags=flags):
                done = subprocess.run([BIN / "ursa-coordinator", "--dir", self.folder / "other", "--listen", "0.0.0.0:0", *flags],
                                      cwd=self.folder, capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn("error: ", done.stderr)
                self.assertIn(words, done.stderr)

    def test_a_client_trusts_only_whom_it_is_told_to(self):
        self.assertEqual(self.ursa.run("status", env=self.tls()).status, 0)
        port = self.ursa.server.rpartition(":")[2]
        self.assertEqual(self.ursa.run("status", env=self.tls(server=f"https://localhost:{port}")).status, 0)
        for env, status, words in [(self.tls(roots=None), 5, ["certificate verify failed", "URSA_TLS_ROOTS"]),
                                   (self.tls(roots="names"), 2, ["names", "has none"]),
                                   (self.tls(server=f"127.0.0.1:{port}"), 5, [f"https://127.0.0.1:{port}"]),
                                   (self.tls(server=f"https://127.0.0.2:{port}"), 5, ["127.0.0.2"]),
                                   (self.tls(server=f"10.0.0.1:{port}"), 2, ["plain text", f"https://10.0.0.1:{port}"])]:
            with self.subTest(words=words):
                answer = self.ursa.run("status", env=env)
                self.assertEqual(answer.status, status, answer.err)
                self.assertTrue(answer.err.startswith("error: "), answer.err)
                for word in words:
                    self.assertIn(word, answer.err)

    def test_a_worker_trains_over_it(self):
        with self.ursa.worker(self.ursa.server, "stranger") as stranger:
            wait_until(lambda: "certificate verify failed" in stranger.read_text(), 30, "a worker that does not trust says so")
        self.assertEqual(self.ursa.run("status", env=self.tls())["workers"], 0)
        with self.ursa.worker(self.ursa.server, "friend", "--ca_file", self.folder / "ca.pem"):
            wait_until(lambda: self.ursa.run("status", env=self.tls())["workers"] == 1, 30, "the worker")
            draw_stripes(self.folder / "stripes", each=8)
            done = self.ursa.run("dataset", "import", "stripes", self.folder / "stripes", "--split", "random:0.25:seed=1", env=self.tls())
            self.assertEqual((done.status, done["num_examples"]), (0, 16), done.err)
            recipe = write_recipe(self.folder, "stripes", slots=1)
            done = self.ursa.run("experiment", "create", recipe, "--follow", env=self.tls())
            self.assertEqual((done.status, done["state"]), (0, "COMPLETED"), done.err)
            self.assertEqual(self.ursa.run("model", "register", "stripes", "--experiment", done["experiment_id"], env=self.tls()).status, 0)

    def test_a_worker_with_unsafe_flags_does_not_start(self):
        for flags, words in [(["--server", "10.0.0.1:7070"], "plain text"),
                             (["--server", "127.0.0.1:7070", "--ca_file", self.folder / "ca.pem"], "https://")]:
            with self.subTest(flags=flags):
                done = subprocess.run([BIN / "ursa-worker", "--dir", self.folder / "w", *flags], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(words, done.stderr)


if __name__ == "__main__":
    xml_report.main()
