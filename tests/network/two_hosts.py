"""Two hosts in one machine: network namespaces joined by a virtual cable. They are gone with the processes in them."""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
HERE, THERE = "10.77.0.1", "10.77.0.2"


class NotAllowed(Exception):
    """The system allows no namespaces; says why."""


def _run(*words):
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError as missing:
        raise NotAllowed(f"there is no program {missing.filename}") from missing
    if done.returncode != 0:
        raise NotAllowed(f"{' '.join(words)}: {done.stderr.strip()}")


class TwoHosts:
    """This process, with all that it starts from now on, is one host (HERE); commands after `there` run on the other (THERE)."""

    def __init__(self):
        _run("unshare", "--net", "ip", "link", "show", "lo")  # before this process becomes a host of its own
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise NotAllowed(f"unshare: {os.strerror(ctypes.get_errno())}")
        # Holds the other namespace until this process closes its pipe, however it ends.
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._join()
        except BaseException:
            self.close()
            raise

    def _join(self):
        if self._holder.stdout.readline() != b"ready\n":
            raise NotAllowed("unshare: the second namespace cannot be made")
        pid = str(self._holder.pid)
        self.there = ["nsenter", "--target", pid, "--net"]
        _run("ip", "link", "add", "here", "type", "veth", "peer", "name", "there", "netns", pid)
        for address, name, prefix in [(HERE, "here", []), (THERE, "there", self.there)]:
            _run(*prefix, "ip", "address", "add", f"{address}/24", "dev", name)
            _run(*prefix, "ip", "link", "set", "lo", "up")
            _run(*prefix, "ip", "link", "set", name, "up")

    def close(self):
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait()

    @contextlib.contextmanager
    def partition(self):
        """No packet comes through. The other host is not told: it keeps its routes, and what it sends is lost."""
        _run("ip", "link", "set", "here", "down")
        try:
            yield
        finally:
            _run("ip", "link", "set", "here", "up")
