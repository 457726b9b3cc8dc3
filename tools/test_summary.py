#!/usr/bin/env python3
"""Sums up the test cases of one `bazel test` from its build events and the XML reports that they name.

Use: test_summary.py EVENTS.json BAZEL_EXIT_STATUS
Prints the failed and the slowest, then `N passed, N failed, N skipped` as the last line; exits 0 only if all is well.
"""

import collections
import json
import sys
import urllib.parse
import xml.etree.ElementTree

NUM_SLOWEST = 5
BAZEL_NO_TESTS = 4  # exit status of `bazel test` when nothing matched
# A target that did not run has no XML report; it counts as one failed case.
NOT_RUN = {"NO_STATUS", "FAILED_TO_BUILD", "REMOTE_FAILURE", "BLAZE_HALTED_BEFORE_TESTING", "TOOL_HALTED_BEFORE_TESTING"}


class Summary:
    """Counts of cases, names of the failed ones, and seconds per target."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.seconds = collections.Counter()

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)


def read_events(path):
    """The last attempt's result of each (target, run, shard), and the overall status of each target."""
    results, overall = {}, {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            if "testResult" in event:
                key = event["id"]["testResult"]
                attempt = key.get("attempt", 1)
                place = (key["label"], key.get("run", 1), key.get("shard", 1))
                if place not in results or attempt >= results[place][0]:
                    results[place] = (attempt, event["testResult"])
            elif "testSummary" in event:
                overall[event["id"]["testSummary"]["label"]] = event["testSummary"].get("overallStatus", "NO_STATUS")
            elif "configured" in event and event["configured"].get("targetKind", "").endswith("_test rule"):
                overall.setdefault(event["id"]["targetConfigured"]["label"], "NO_STATUS")
    return results, overall


def add_cases(summary, label, report):
    """Adds the cases of a JUnit report (GoogleTest's and Bazel's dialects); returns how many failed, or None without any."""
    cases = list(report.iter("testcase"))
    num_failed = 0
    for case in cases:
        name = f'{label} {case.get("classname", "")}.{case.get("name", "")}'
        if case.find("failure") is not None or case.find("error") is not None:
            summary.fail(name)
            num_failed += 1
        elif case.find("skipped") is not None or case.get("result") in ("skipped", "suppressed") or case.get("status") == "notrun":
            summary.skipped += 1
        else:
            summary.passed += 1
    return num_failed if cases else None


def report_of(result):
    """The parsed XML report of a test result, or None if it has none that can be read."""
    for output in result.get("testActionOutput", []):
        if output["name"] == "test.xml":
            path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
            try:
                return xml.etree.ElementTree.parse(path).getroot()
            except (OSError, xml.etree.ElementTree.ParseError):
                return None
    return None


def summarize(results, overall):
    summary = Summary()
    for (label, _, _), (_, result) in sorted(results.items()):
        summary.seconds[label] += int(result.get("testAttemptDurationMillis", 0)) / 1000
        passed = result["status"] == "PASSED"
        report = report_of(result)
        num_failed = add_cases(summary, label, report) if report is not None else None
        if num_failed is None and passed:
            summary.passed += 1
        elif not passed and not num_failed:
            # It crashed, ran out of time, or wrote a report that does not say what went wrong.
            summary.fail(f'{label} ({result["status"]})')
    ran = {label for label, _, _ in results}
    for label, status in sorted(overall.items()):
        if label not in ran and status in NOT_RUN:
            summary.fail(f"{label} (did not build or run)")
    return summary


def main(events, bazel_status):
    summary = summarize(*read_events(events))
    slowest = [(label, seconds) for label, seconds in summary.seconds.most_common(NUM_SLOWEST) if seconds >= 1]
    if slowest:
        print("slowest: " + ", ".join(f"{label} {seconds:.0f} s" for label, seconds in slowest))
    for name in summary.failures:
        print(f"FAILED {name}")
    if bazel_status and not summary.failures:
        print(f"bazel test ended with status {bazel_status}" + (": no test matched" if bazel_status == BAZEL_NO_TESTS else ""))
    print(f"{summary.passed} passed, {summary.failed} failed, {summary.skipped} skipped", flush=True)
    return 1 if bazel_status or summary.failed or not summary.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
