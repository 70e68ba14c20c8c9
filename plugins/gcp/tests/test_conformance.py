"""The kit, with the official client over gRPC and REST."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance, sampled
from strongroom.testing.sampling import together
from strongroom_gcp import GCPSecretProvider
from strongroom_gcp.names import MARKER
from strongroom_gcp.payload import EMPTY_MARK, MAX_BYTES


class TestGrpc(ProviderConformance):
    title = "gcp, gRPC"
    provider_class = GCPSecretProvider
    max_value_bytes = MAX_BYTES
    similar_keys = 25
    listed_keys = 12
    reuses_version_ids = True
    hostile_keys = (
        f"a{MARKER}2f",
        f"{MARKER}h{'0' * 64}",
        f"-{MARKER}",
        "latest",
        "secrets/a/versions/1",
        "k" * 255,
        "k" * 256,
    )
    hostile_values = (EMPTY_MARK.decode(), EMPTY_MARK.decode() * 2, f"{EMPTY_MARK.decode()}x")
    survives_forks = "the tests' gRPC server runs in this process, and the ready channel is its maker's"
    sdk_modules = ("google", "grpc", "proto")
    construction = "from strongroom_gcp import GCPSecretProvider; GCPSecretProvider('my-project')"

    @pytest.fixture
    def transport(self):
        return "grpc"

    @pytest.fixture
    def provider(self, bench):
        bench.store.largest_page = 5  # the service's own has more secrets than a test likes to write
        return bench.provider()

    @pytest.fixture
    def reopened(self, bench):
        return bench.provider()

    @pytest.fixture
    def request_count(self, bench):
        return lambda: len(bench.store.calls)


@pytest.mark.torture
class TestGrpcManyKeys(TestGrpc):
    """With all the keys of the kit."""

    title = "gcp, gRPC, with more keys"
    similar_keys = None


@sampled(pytest.mark.torture, one_in=4)
class TestRest(TestGrpc):
    title = "gcp, REST"
    survives_forks = True

    @pytest.fixture
    def transport(self):
        return "rest"


class TestGrpcBehindMiddleware(
    BehindMiddleware, kit=TestGrpc, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestGrpc)
