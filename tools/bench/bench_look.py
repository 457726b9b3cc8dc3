"""Looks at an experiment 100 times a second, for benches that measure how long something takes.

Needs grpcio: a script that is run without it goes on in the virtual environment that `tools/setup --checks` makes.
"""

import os
import pathlib
import statistics
import sys
import time

from bench_cluster import CACHE

try:
    import grpc
except ImportError:
    python = CACHE / "venv/bin/python"
    if not python.exists() or sys.executable == str(python):
        sys.exit("bench: no grpcio on this machine (hint: tools/setup --checks)")
    os.execv(python, [str(python), *sys.argv])

from google.protobuf import descriptor_pool, message_factory  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase  # noqa: E402

LOOK_SECONDS = 0.01


class Looker:
    """GetExperiment of one experiment, over a channel of its own that survives a coordinator's death."""

    def __init__(self, cluster, experiment):
        self.name = f"experiments/{experiment}"
        token = pathlib.Path(cluster.env["URSA_TOKEN_FILE"]).read_text().strip()
        self.metadata = [("authorization", f"Bearer {token}")]
        options = [("grpc.max_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 20)]
        self.channel = grpc.insecure_channel(cluster.env["URSA_SERVER"].removeprefix("http://"), options)
        database = ProtoReflectionDescriptorDatabase(grpc.intercept_channel(self.channel, _Token(self.metadata)))
        service = descriptor_pool.DescriptorPool(database).FindServiceByName("ursa.v1.ExperimentService")
        method = service.FindMethodByName("GetExperiment")
        self.request = message_factory.GetMessageClass(method.input_type)(name=self.name)
        self.stub = self.channel.unary_unary("/ursa.v1.ExperimentService/GetExperiment", lambda m: m.SerializeToString(),
                                             message_factory.GetMessageClass(method.output_type).FromString)

    def look(self):
        """The experiment, or None while nobody answers."""
        try:
            return self.stub(self.request, timeout=1, metadata=self.metadata)
        except grpc.RpcError:
            return None


class _Token(grpc.StreamStreamClientInterceptor):
    def __init__(self, metadata):
        self.metadata = metadata

    def intercept_stream_stream(self, continuation, details, requests):
        class Details(grpc.ClientCallDetails):
            method, timeout, credentials, wait_for_ready, compression = details.method, 10, None, None, None
            metadata = self.metadata
        return continuation(Details(), requests)


def await_look(looker, condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        seen = looker.look()
        if seen is not None and condition(seen):
            return seen
        time.sleep(LOOK_SECONDS)
    sys.exit(f"bench: not within {seconds} s: {what}")


def spread(name, values):
    values = sorted(values)
    tail = values[min(len(values) - 1, round(0.9 * len(values)))]
    return f"{name:28} median {statistics.median(values):7.2f}   p90 {tail:7.2f}   min {values[0]:7.2f}   max {values[-1]:7.2f}"
