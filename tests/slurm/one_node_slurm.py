"""A Slurm cluster of one node: real munged, slurmctld and slurmd, all in one folder and gone at the end."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from cluster import wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# As root, without cgroups and accounting: what a container allows too.
CONFIG = """
ClusterName=ursa
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NotAvailable(Exception):
    """Why this machine cannot run it."""


def _free_ports(count):
    with contextlib.ExitStack() as ends:
        sockets = [ends.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class OneNodeSlurm:
    """`env` is what its commands need."""

    def __init__(self, cpus):
        missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
        if missing:
            raise NotAvailable(f"Slurm's {', '.join(missing)} are not installed (hint: tools/setup --checks)")
        if os.geteuid() != 0:
            raise NotAvailable("Slurm's daemons want root")
        self._cpus = cpus
        self._ends = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as ends:
            self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ursa-slurm-"))  # short: it holds a socket
            ends.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.folder.chmod(0o755)  # munged wants its socket to be within everyone's reach
            for name in ("state", "spool"):
                (self.folder / name).mkdir()
            ports = _free_ports(2)
            config = self.folder / "slurm.conf"
            config.write_text(CONFIG.format(host=socket.gethostname().split(".")[0], folder=self.folder, cpus=self._cpus,
                                            controller_port=ports[0], node_port=ports[1]))
            self.env = dict(os.environ, SLURM_CONF=str(config), PATH=PATH)
            key = self.folder / "munge.key"
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
            files = [f"--{flag}={self.folder / name}" for flag, name in
                     [("key-file", key.name), ("socket", "munge.socket"), ("pid-file", "munged.pid"), ("log-file", "munged.log"), ("seed-file", "munged.seed")]]
            self._start(ends, "munged", "--foreground", *files)
            wait_until((self.folder / "munge.socket").exists, 20, "munged's socket")
            self._start(ends, "slurmctld", "-D", "-i")
            self._start(ends, "slurmd", "-D")
            wait_until(lambda: self.run("sinfo", "--noheader", "--format=%T", check=False).strip() == "idle", 40, f"the node is idle: {self.logs()}")
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_):
        with self._ends:
            self.run("scancel", "--me")
            wait_until(lambda: not self.jobs("COMPLETING,CONFIGURING,PENDING,RUNNING"), 30, "all jobs have ended")

    def run(self, *words, check=True):
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=check, timeout=60).stdout

    def jobs(self, states):
        """{id: state} of the jobs in these states, "all" for all that Slurm remembers."""
        lines = self.run("squeue", "--noheader", "--me", f"--states={states}", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def logs(self):
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-2000:]}" for path in sorted(self.folder.glob("*.out")))

    def _start(self, ends, program, *flags):
        with open(self.folder / f"{program}.out", "wb") as out:
            process = subprocess.Popen([shutil.which(program, path=PATH), *flags], env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

        def stop():
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        ends.callback(stop)
