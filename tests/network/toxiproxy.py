"""A toxiproxy for tests: a TCP proxy that makes a connection slow, stall, break or lose bytes while it is in use."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import urllib.request

from cluster import wait_until

_CACHE = pathlib.Path(os.environ.get("URSA_CACHE") or "~/.cache/ursa").expanduser()
PROGRAM = _CACHE / "toxiproxy/toxiproxy-server"
# Whatever the environment says of proxies: this one is on this machine.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Toxiproxy:
    """One proxy from an address of its own, `target`, to `upstream`; the process ends with the `with`."""

    def __init__(self, upstream, log_file):
        self._upstream, self._log_file = upstream, log_file

    def __enter__(self):
        self._api = f"http://127.0.0.1:{_free_port()}"
        with open(self._log_file, "wb") as log:
            self._process = subprocess.Popen([str(PROGRAM), "-host", "127.0.0.1", "-port", self._api.rpartition(":")[2]],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self._answers, 30, "toxiproxy")
            self.target = self._call("POST", "/proxies", {"name": "link", "listen": "127.0.0.1:0", "upstream": self._upstream})["listen"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def poisoned(self, *toxics):
        """`toxics`: (type, stream, attributes), at work on connections that are open and on those to come."""
        for kind, stream, attributes in toxics:
            self._call("POST", "/proxies/link/toxics", {"type": kind, "stream": stream, "attributes": attributes})
        try:
            yield
        finally:
            self._call("POST", "/reset")

    @contextlib.contextmanager
    def shut(self):
        """Ends all connections, and refuses new ones."""
        self._call("POST", "/proxies/link", {"enabled": False})
        try:
            yield
        finally:
            self._call("POST", "/reset")

    def _answers(self):
        assert self._process.poll() is None, f"toxiproxy ended: {pathlib.Path(self._log_file).read_text()}"
        try:
            return self._call("GET", "/version")
        except OSError:
            return False

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._api + path, data=data, method=method, headers={"User-Agent": "ursa-test"})
        with _OPENER.open(request, timeout=30) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith("{") else text
