#!/usr/bin/env python3
"""Unit tests of the sum that tools/test ends with."""

import contextlib
import io
import json
import os
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(os.path.realpath(__file__)).parent))
sys.dont_write_bytecode = True
import test_summary  # noqa: E402
import xml_report  # noqa: E402

GTEST = """<?xml version="1.0"?>
<testsuites><testsuite name="A">
<testcase name="Right" status="run" result="completed" classname="A"/>
<testcase name="Wrong" status="run" result="completed" classname="A"><failure message="no"/></testcase>
<testcase name="Skipped" status="run" result="skipped" classname="A"><skipped message="no data"/></testcase>
<testcase name="DISABLED_Off" status="notrun" result="suppressed" classname="A"/>
</testsuite></testsuites>"""
BAZEL_OWN = '<testsuites><testsuite name="a"><testcase name="a" status="run"/></testsuite></testsuites>'


class SummaryTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="a folder%20 ")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.events = []

    def configured(self, label, kind="cc_test rule"):
        self.events.append({"id": {"targetConfigured": {"label": label}}, "configured": {"targetKind": kind}})

    def result(self, label, status, report=None, attempt=1, shard=1):
        event = {"status": status, "testAttemptDurationMillis": "1500", "testActionOutput": [{"name": "test.log", "uri": "file:///x"}]}
        if report is not None:
            path = self.folder / f"{len(self.events)}.xml"
            path.write_text(report)
            event["testActionOutput"].append({"name": "test.xml", "uri": path.as_uri()})
        self.events.append({"id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": attempt}}, "testResult": event})

    def summary(self, bazel_status=0):
        path = self.folder / "events.json"
        path.write_text("".join(json.dumps(e) + "\n" for e in self.events))
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = test_summary.main(str(path), bazel_status)
        return status, out.getvalue().splitlines()

    def test_counts_cases(self):
        self.result("//a:a", "FAILED", GTEST)
        self.result("//a:b", "PASSED", BAZEL_OWN)
        status, lines = self.summary(3)
        self.assertEqual((1, "2 passed, 1 failed, 2 skipped"), (status, lines[-1]))
        self.assertIn("FAILED //a:a A.Wrong", lines)

    def test_all_well(self):
        self.result("//a:b", "PASSED", BAZEL_OWN)
        self.assertEqual((0, ["slowest: //a:b 2 s", "1 passed, 0 failed, 0 skipped"]), self.summary())

    def test_without_a_report_a_target_is_one_case(self):
        self.result("//a:a", "PASSED")
        self.result("//a:b", "TIMEOUT", "<not xml")
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), self._short(self.summary(3)))

    def test_a_crash_after_passed_cases_is_a_failure(self):
        self.result("//a:a", "FAILED", BAZEL_OWN)
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), self._short(self.summary(3)))

    def test_the_last_attempt_counts_and_every_shard(self):
        self.result("//a:a", "FAILED", GTEST, attempt=1)
        self.result("//a:a", "PASSED", BAZEL_OWN, attempt=2)
        self.result("//a:b", "PASSED", BAZEL_OWN, shard=1)
        self.result("//a:b", "PASSED", BAZEL_OWN, shard=2)
        self.assertEqual((0, "3 passed, 0 failed, 0 skipped"), self._short(self.summary()))

    def test_what_did_not_build_has_failed(self):
        self.result("//a:a", "PASSED", BAZEL_OWN)
        self.configured("//a:a")
        self.configured("//a:broken")
        self.configured("//a:lib", kind="cc_library rule")
        status, lines = self.summary(1)
        self.assertEqual((1, "1 passed, 1 failed, 0 skipped"), (status, lines[-1]))
        self.assertIn("FAILED //a:broken (did not build or run)", lines)

    def test_nothing_ran(self):
        self.assertEqual((1, "0 passed, 0 failed, 0 skipped"), self._short(self.summary(4)))
        self.assertEqual((1, "0 passed, 0 failed, 0 skipped"), self._short(self.summary(0)))

    def test_bazel_failed_elsewhere(self):
        self.result("//a:a", "PASSED", BAZEL_OWN)
        status, lines = self.summary(1)
        self.assertEqual((1, "1 passed, 0 failed, 0 skipped"), (status, lines[-1]))
        self.assertIn("bazel test ended with status 1", lines)

    @staticmethod
    def _short(answer):
        return answer[0], answer[1][-1]


if __name__ == "__main__":
    xml_report.main(__name__)
