"""A coordinator and workers as real processes of their own, as on several machines, and the certificates that this wants."""

import contextlib
import signal
import subprocess

from cluster import BIN, Cluster, wait_until

NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_certificates(folder, names="IP:127.0.0.1,DNS:localhost"):
    """A maker of certificates (ca.pem), and what it made for a server of these names (host.pem, host.key)."""
    openssl(folder, "req", "-x509", *NEW_KEY, "-days", "2", "-subj", "/CN=maker", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(folder, "req", *NEW_KEY, "-subj", "/CN=host", "-keyout", "host.key", "-out", "host.csr")
    (folder / "names").write_text(f"subjectAltName={names}\n")
    openssl(folder, "x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "host.pem")


class Daemons(Cluster):
    """Started one by one, as on several machines; each in a folder of its own, the coordinator at `host` behind TLS."""

    def __init__(self, folder, host="127.0.0.1", flags=()):
        """`flags`: more of the coordinator's."""
        super().__init__(folder=folder / "coordinator")
        self._flags = flags
        self.certificates = folder
        self._host = host
        self._ends = contextlib.ExitStack()

    def __enter__(self):
        certificate = [f"--tls_{kind}={self.certificates / name}" for kind, name in [("cert", "host.pem"), ("key", "host.key")]]
        self._ends.enter_context(self._start("coordinator", "ursa-coordinator", "--listen", "0.0.0.0:0", *certificate, *self._flags))
        address = self.folder / "address"
        wait_until(address.exists, 30, "the coordinator")
        self.server = f"https://{self._host}:" + address.read_text().strip().rpartition(":")[2]
        self.env["URSA_TOKEN_FILE"] = str(self.folder / "admin.token")
        return self

    def __exit__(self, *_):
        self._ends.close()

    def worker(self, server, name, *flags, prefix=()):
        """`prefix`: words before the command, such as nsenter's."""
        return self._start(name, "ursa-worker", "--server", server, "--token_file", self.folder / "worker.token", *flags, prefix=prefix)

    def joined(self, name, *flags, token=None, status=0):
        """A worker that joins with the one-time token, or has joined before."""
        if token:
            file = self.certificates / f"{name}.token"
            file.write_text(token + "\n")
            flags = ("--join_token_file", file, *flags)
        return self._start(name, "ursa-worker", "--server", self.server, "--ca_file", self.certificates / "ca.pem", *flags, status=status)

    @contextlib.contextmanager
    def _start(self, name, program, *flags, prefix=(), status=0):
        """Runs the program in the folder of that name; gives the file of what it says. It ends with that status."""
        log = self.certificates / f"{name}.log"
        with open(log, "wb") as out:
            command = [*prefix, str(BIN / program), "--dir", str(self.certificates / name), *map(str, flags)]
            process = subprocess.Popen(command, env=self.env, stdout=out, stderr=out)
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                ended = process.wait(timeout=60)
            finally:
                process.kill()
            assert ended == status, f"{name} ended with {ended}: {log.read_text()}"
