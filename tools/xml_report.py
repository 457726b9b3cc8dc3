"""unittest.main() that also writes the JUnit report which Bazel names by XML_OUTPUT_FILE, one entry per test case."""

import os
import sys
import time
import unittest
import xml.etree.ElementTree as ET


class _Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        module, _, name = test.id().rpartition(".")
        self.case = ET.Element("testcase", classname=module.split(".", 1)[-1], name=name)
        self.started = time.monotonic()
        self.cases.append(self.case)

    def stopTest(self, test):
        self.case.set("time", f"{time.monotonic() - self.started:.3f}")
        super().stopTest(test)

    def _mark(self, kind, text):
        if self.case.find(kind) is None:
            ET.SubElement(self.case, kind, message=text.strip().rsplit("\n", 1)[-1]).text = text

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._mark("failure", self.failures[-1][1])

    def _begin_setup(self, test):
        if not isinstance(test, unittest.TestCase):  # setUpClass or setUpModule ended this way: no case has begun
            self.case = ET.Element("testcase", classname="setup", name=test.id())
            self.cases.append(self.case)

    def addError(self, test, err):
        super().addError(test, err)
        self._begin_setup(test)
        self._mark("error", self.errors[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._mark("failure", (self.failures + self.errors)[-1][1])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._begin_setup(test)
        self._mark("skipped", reason)


def main(module="__main__"):
    cases = []
    result_class = type("Result", (_Result,), {"cases": cases})
    runner = unittest.TextTestRunner(resultclass=result_class, verbosity=2)  # names, and why a case is skipped
    program = unittest.main(module=module, testRunner=runner, exit=False)
    path = os.environ.get("XML_OUTPUT_FILE")
    if path:
        suite = ET.Element("testsuite", name=os.path.basename(sys.argv[0]), tests=str(len(cases)))
        suite.extend(cases)
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    sys.exit(0 if program.result.wasSuccessful() and cases else 1)
