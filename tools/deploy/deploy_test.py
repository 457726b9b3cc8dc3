#!/usr/bin/env python3
"""What starts Ursa on other people's systems, by these systems' own linters; and that our programs know the flags."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True
import xml_report  # noqa: E402

HERE = ROOT / "tools/deploy"
LINTERS = pathlib.Path(os.environ.get("URSA_CACHE") or pathlib.Path.home() / ".cache/ursa") / "linters/bin"
PROGRAMS = {"ursa": "client/cli", "ursa-coordinator": "coordinator", "ursa-worker": "worker/agent"}
EXPOSURE_MAX = 2.0  # of 10, as `systemd-analyze security` counts


def run(*words):
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)


def linter(name, folder=None):
    found = shutil.which(name, path=str(folder) if folder else "/usr/bin:/bin")
    if found is None:
        raise unittest.SkipTest(f"skipped: {name} is not installed (hint: tools/setup --checks)")
    return found


def known_flags(program):
    return set(re.findall(r"--[a-z_]+", run(ROOT / PROGRAMS[program] / program, "--help").stdout))


class SystemdTest(unittest.TestCase):
    def setUp(self):
        """The units with our programs at the path that they name, which this machine need not have."""
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, package in PROGRAMS.items():
            (self.folder / name).symlink_to((ROOT / package / name).resolve())
        self.units = []
        for path in sorted((HERE / "systemd").glob("*.service")):
            unit = self.folder / path.name
            unit.write_text(path.read_text().replace("/opt/ursa/bin/", f"{self.folder}/"))
            self.units.append(unit)
        self.assertEqual([unit.name for unit in self.units], ["ursa-coordinator.service", "ursa-worker.service"])
        drop_in = self.folder / "ursa-worker.service.d"
        drop_in.mkdir()
        shutil.copy(HERE / "systemd/ursa-worker-gpu.conf", drop_in / "gpu.conf")

    def test_systemd_finds_nothing(self):
        analyze = linter("systemd-analyze")
        done = run(analyze, "verify", *self.units)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        # That it would: a word that it does not know.
        self.units[0].write_text(self.units[0].read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
        self.assertIn("ProtectHouse", run(analyze, "verify", *self.units).stderr)

    def test_the_daemons_are_contained(self):
        analyze = linter("systemd-analyze")
        for unit in self.units:
            shutil.rmtree(self.folder / f"{unit.name}.d", ignore_errors=True)  # a machine with GPUs opens devices
            done = run(analyze, "security", "--offline=yes", f"--threshold={int(EXPOSURE_MAX * 10)}", "--no-pager", unit)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_programs_know_the_flags_and_files_have_the_variables(self):
        for name in ("coordinator", "worker"):
            unit = (HERE / f"systemd/ursa-{name}.service").read_text()
            command = re.search(r"^ExecStart=((?:.*\\\n)*.*)", unit, re.M).group(1)
            flags = set(re.findall(r"--[a-z_]+", command))
            self.assertGreater(len(flags), 3)
            self.assertLessEqual(flags, known_flags(f"ursa-{name}"))
            environment = set(re.findall(r"^(URSA_\w+)=", (HERE / f"systemd/{name}.env").read_text(), re.M))
            self.assertEqual(set(re.findall(r"\$\{?(URSA_\w+)", command)), environment)

    def test_sysusers_knows_the_user(self):
        done = run(linter("systemd-sysusers"), "--dry-run", HERE / "systemd/ursa.sysusers")
        self.assertEqual(done.returncode, 0, done.stderr)
        for unit in self.units:
            self.assertIn("\nUser=ursa\n", unit.read_text())


class KubernetesTest(unittest.TestCase):
    def manifests(self):
        found = sorted(path for path in (HERE / "kubernetes").rglob("*.yaml") if path.name != "kustomization.yaml")
        self.assertEqual(len(found), 4)
        return found

    def test_they_fit_kubernetes_own_schemas(self):
        validate = linter("kubernetes-validate", LINTERS)
        done = run(validate, "--strict", *self.manifests())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with tempfile.TemporaryDirectory() as folder:  # that it would find something
            bad = pathlib.Path(folder, "bad.yaml")
            bad.write_text((HERE / "kubernetes/worker.yaml").read_text().replace("maxUnavailable", "maxUnavailible"))
            self.assertNotEqual(run(validate, "--strict", bad).returncode, 0)

    def test_kustomizations_list_every_file(self):
        folder = HERE / "kubernetes"
        listed = set()
        for path in folder.rglob("kustomization.yaml"):
            block = path.read_text().partition("\nresources:\n")[2]
            for name in re.findall(r"^  - (\S+)$", block, re.M):
                listed.add((path.parent / name).resolve())
        self.assertEqual(listed, {path.resolve() for path in self.manifests()} | {folder.resolve()})

    def test_programs_know_the_flags(self):
        num_flags = 0
        for path in self.manifests():
            for program, words in re.findall(r"command:\n +- (ursa-\w+)\n((?: +- --\S+\n)+)", path.read_text()):
                flags = set(re.findall(r"--[a-z_]+", words))
                self.assertLessEqual(flags, known_flags(program), path)
                num_flags += len(flags)
        self.assertGreaterEqual(num_flags, 4 + 7 + 8)


class ImageTest(unittest.TestCase):
    def test_hadolint_finds_nothing(self):
        hadolint = linter("hadolint", LINTERS)
        done = run(hadolint, HERE / "Containerfile")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        with tempfile.TemporaryDirectory() as folder:
            bad = pathlib.Path(folder, "Containerfile")
            bad.write_text("FROM debian\nRUN cd /tmp\n")
            self.assertIn("DL3006", run(hadolint, bad).stdout)


if __name__ == "__main__":
    xml_report.main()
