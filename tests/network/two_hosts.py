"""Two hosts in one machine: network namespaces joined by a virtual cable. They are gone with the processes in them."""

import contextlib
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
HERE, THERE = "10.77.0.1", "10.77.0.2"


class NotAllowed(Exception):
    """The system allows no namespaces; says why."""


def _ip(*words, prefix=()):
    done = subprocess.run([*prefix, "ip", *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise NotAllowed(f"ip {' '.join(words)}: {done.stderr.strip()}")


class TwoHosts:
    """This process, with all that it starts from now on, is one host (HERE); commands after `there` run on the other (THERE)."""

    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise NotAllowed(f"unshare: {os.strerror(ctypes.get_errno())}")
        # Holds the other namespace until this process closes its pipe, however it ends.
        self._holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo ready; cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._holder.stdout.readline() != b"ready\n":
            raise NotAllowed("unshare: the second namespace cannot be made")
        pid = str(self._holder.pid)
        self.there = ["nsenter", "--target", pid, "--net"]
        _ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", pid)
        for address, name, prefix in [(HERE, "here", ()), (THERE, "there", self.there)]:
            _ip("address", "add", f"{address}/24", "dev", name, prefix=prefix)
            _ip("link", "set", "lo", "up", prefix=prefix)
            _ip("link", "set", name, "up", prefix=prefix)

    def close(self):
        self._holder.stdin.close()
        self._holder.wait()

    @contextlib.contextmanager
    def partition(self):
        """No packet comes through. The other host is not told: it keeps its routes, and what it sends is lost."""
        _ip("link", "set", "here", "down")
        try:
            yield
        finally:
            _ip("link", "set", "here", "up")
