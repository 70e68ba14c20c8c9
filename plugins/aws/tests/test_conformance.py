"""The kit, through real boto3 on moto's server, which follows AWS's rules; whole also on moto as it is."""

from __future__ import annotations

import functools

import pytest
import strongroom_aws.connection as connections
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_aws import AWSParameterProvider, AWSSecretProvider, service
from strongroom_aws.names import MARKER
from strongroom_aws.payload import BASE64_MARK, TEXT_MARK
from strongroom_aws.provider import MAX_VALUE_BYTES


@pytest.fixture(scope="module")
def free():
    """boto3's clients that no provider has: making one takes longer than most tests."""
    return {}


@pytest.fixture
def make(make, request, free, monkeypatch):
    """Return a function that makes providers, whose clients are used again; not where tests are of making them."""
    if request.function.__module__.rpartition(".")[2] in {"forks", "lifecycle", "threads"}:
        yield make
        return

    def client_of(session, service, account):
        waiting = free.setdefault((service, account), [])
        return waiting.pop() if waiting else made_alone(session, service, account)

    made_alone, made = connections.client_of, []
    monkeypatch.setattr(connections, "client_of", client_of)
    monkeypatch.setattr(connections, "session_of", session_of)

    def provider(*args, **more):
        made.append(make(*args, **more))
        return made[-1]

    yield provider
    for one in made:
        held, client = one._connection, one._connection._client
        one.close()
        if client is not None:
            client.meta.events.unregister("before-send", held._check_time)
            client.meta.events.unregister("before-parse", connections._check_whole)
            free[held._service, held._account].append(client)


session_of = functools.cache(connections.session_of)


class TestSecretsManager(ProviderConformance):
    title = "aws"
    provider_class = AWSSecretProvider
    max_value_bytes = MAX_VALUE_BYTES
    similar_keys = 25
    listed_keys = 12
    page = 5
    hostile_keys = (f"a{MARKER}2f", f"{MARKER}h{'0' * 64}", "name-AbCdEf", "with space", "k" * 512)
    hostile_values = (TEXT_MARK, BASE64_MARK, f"{TEXT_MARK}x", "{{x}}")
    sdk_modules = ("boto3", "botocore", "urllib3")
    construction = "from strongroom_aws import AWSSecretProvider; AWSSecretProvider('us-east-1')"

    @pytest.fixture(autouse=True)
    def _page(self, monkeypatch):
        monkeypatch.setattr(service, "_PAGE", self.page)

    @pytest.fixture
    def provider(self, make):
        return make()

    @pytest.fixture
    def reopened(self, make, provider):
        return make()


@pytest.mark.torture
class TestDeletingAtOnce(TestSecretsManager):
    """Without a recovery window."""

    title = "aws, deleting at once"

    @pytest.fixture
    def provider(self, make):
        return make(force_delete=True)


@pytest.mark.torture
class TestPlainMoto(TestSecretsManager):
    """Whoever tries strongroom on moto meets moto's own rules; with pages as long as they are."""

    title = "aws, on moto's own rules"
    similar_keys = None
    listed_keys = 105
    page = 100

    @pytest.fixture
    def moto(self, plain_moto):
        return plain_moto


@pytest.mark.torture
class TestPlainMotoDeletingAtOnce(TestDeletingAtOnce):
    title = "aws, deleting at once, on moto's own rules"

    @pytest.fixture
    def moto(self, plain_moto):
        return plain_moto


class TestParameterStore(ProviderConformance):
    title = "aws.parameters"
    provider_class = AWSParameterProvider
    max_value_bytes = 4096
    similar_keys = 25
    listed_keys = 12  # a page has 10
    reuses_version_ids = True
    hostile_keys = ("aws/key", "ssm", "a-.2f", "a" + "/b" * 20, "with space", "k" * 512)
    hostile_values = (TEXT_MARK, BASE64_MARK, "{{x}}", "{{")
    sdk_modules = ("boto3", "botocore", "urllib3")
    construction = "from strongroom_aws import AWSParameterProvider; AWSParameterProvider('us-east-1')"

    @pytest.fixture
    def provider(self, make):
        return make(AWSParameterProvider)

    @pytest.fixture
    def reopened(self, make, provider):
        return make(AWSParameterProvider)


@pytest.mark.torture
class TestManyParameters(TestParameterStore):
    """With all the keys of the kit, and many pages of them."""

    title = "aws.parameters, with more keys"
    similar_keys = None
    listed_keys = 55


class TestSecretsManagerBehindMiddleware(
    BehindMiddleware, kit=TestSecretsManager, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


class TestParameterStoreBehindMiddleware(
    BehindMiddleware, kit=TestParameterStore, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestSecretsManager)
together(pytest.mark.torture)(TestParameterStore)
