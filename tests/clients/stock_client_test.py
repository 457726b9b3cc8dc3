#!/usr/bin/env python3
"""A stock gRPC client, without any of our proto files, finds the services of a running `ursa up` and calls them.

Everything it knows of Ursa is the address, the token and the names it finds by reflection. Run by stock_client_test.sh in the
virtual environment that tools/setup --checks makes.
"""

import os
import pathlib
import sys
import unittest

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

WORKSPACE = pathlib.Path(os.path.realpath(__file__)).parent.parent.parent
sys.path[:0] = [str(WORKSPACE / "tools"), str(WORKSPACE / "tests/integration")]
sys.dont_write_bytecode = True
import cluster  # noqa: E402
import xml_report  # noqa: E402

TIMEOUT_S = 30


class WithToken(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds the token to each call, as any client would."""

    def __init__(self, token):
        self._metadata = [("authorization", f"Bearer {token}")]

    def _details(self, details):
        class Details(grpc.ClientCallDetails):
            method, timeout, credentials, wait_for_ready, compression = (
                details.method, TIMEOUT_S, details.credentials, details.wait_for_ready, details.compression)
            metadata = self._metadata
        return Details()

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._details(details), request)

    def intercept_stream_stream(self, continuation, details, request_iterator):
        return continuation(self._details(details), request_iterator)


class Stock:
    """Calls by the names of service and method alone."""

    def __init__(self, address, token):
        self.plain = grpc.insecure_channel(address)
        self.channel = grpc.intercept_channel(self.plain, WithToken(token))
        self.database = ProtoReflectionDescriptorDatabase(self.channel)
        self.pool = descriptor_pool.DescriptorPool(self.database)

    def call(self, service, method, channel=None, **fields):
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)(**fields)
        stub = (channel or self.channel).unary_unary(
            f"/{service}/{method}", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString)
        return stub(request, timeout=TIMEOUT_S)

    def close(self):
        self.plain.close()


class StockClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ursa = cls.enterClassContext(cluster.Cluster(slots=1))
        cls.address = ursa.env["URSA_SERVER"]
        cls.token = pathlib.Path(ursa.env["URSA_TOKEN_FILE"]).read_text().strip()
        cls.stock = Stock(cls.address, cls.token)
        cls.addClassCleanup(cls.stock.close)

    def assert_refused(self, code, call):
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        self.assertEqual(code, caught.exception.code(), caught.exception)

    def test_lists_the_services(self):
        services = set(self.stock.database.get_services())
        self.assertLessEqual({"grpc.health.v1.Health", "ursa.v1.ClusterService", "ursa.v1.DatasetService"}, services)

    def test_every_listed_service_is_described(self):
        for service in self.stock.database.get_services():
            if service.startswith("grpc.reflection."):
                continue  # it does not describe itself
            with self.subTest(service=service):
                self.assertTrue(self.stock.pool.FindServiceByName(service).methods)

    def test_calls_by_reflection(self):
        status = self.stock.call("ursa.v1.ClusterService", "GetStatus")
        self.assertEqual((1, 1), (status.workers, status.slots_total))
        workers = self.stock.call("ursa.v1.ClusterService", "ListWorkers", page_size=10).workers
        self.assertEqual(["w1"], [w.id for w in workers])
        self.assertTrue(self.stock.call("ursa.v1.ClusterService", "VerifyAudit").ok)

    def test_errors_are_codes_with_words(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.stock.call("ursa.v1.ClusterService", "ListWorkers", page_token="no such token")
        self.assertEqual(grpc.StatusCode.INVALID_ARGUMENT, caught.exception.code())
        self.assertTrue(caught.exception.details())

    def test_health_is_open(self):
        answer = self.stock.call("grpc.health.v1.Health", "Check", channel=self.stock.plain)
        self.assertEqual("SERVING", answer.DESCRIPTOR.enum_types_by_name["ServingStatus"].values_by_number[answer.status].name)

    def test_nothing_else_is_open(self):
        self.assert_refused(grpc.StatusCode.UNAUTHENTICATED,
                            lambda: self.stock.call("ursa.v1.ClusterService", "GetStatus", channel=self.stock.plain))
        for token in ("", "wrong", self.token + "x", self.token[:-1]):
            with self.subTest(token=len(token)):
                stranger = Stock(self.address, token)
                self.addCleanup(stranger.close)
                self.assert_refused(grpc.StatusCode.UNAUTHENTICATED, stranger.database.get_services)
                self.assert_refused(grpc.StatusCode.UNAUTHENTICATED,
                                    lambda s=stranger: self.stock.call("ursa.v1.ClusterService", "GetStatus", channel=s.channel))


if __name__ == "__main__":
    xml_report.main(__name__)
