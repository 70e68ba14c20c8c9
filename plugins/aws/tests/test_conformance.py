"""The kit, through real boto3 on moto's server, which follows AWS's rules; whole also on moto as it is."""

from __future__ import annotations

import pytest
from strongroom.testing import ProviderConformance, behind_each
from strongroom_aws import AWSParameterProvider, AWSSecretProvider
from strongroom_aws.names import MARKER
from strongroom_aws.payload import BASE64_MARK, TEXT_MARK
from strongroom_aws.provider import MAX_VALUE_BYTES


class TestSecretsManager(ProviderConformance):
    provider_class = AWSSecretProvider
    max_value_bytes = MAX_VALUE_BYTES
    hostile_keys = (f"a{MARKER}2f", f"{MARKER}h{'0' * 64}", "name-AbCdEf", "with space", "k" * 512)
    hostile_values = (TEXT_MARK, BASE64_MARK, f"{TEXT_MARK}x", "{{x}}")
    sdk_modules = ("boto3", "botocore", "urllib3")
    construction = "from strongroom_aws import AWSSecretProvider; AWSSecretProvider('us-east-1')"

    @pytest.fixture
    def provider(self, make):
        return make()

    @pytest.fixture
    def reopened(self, make, provider):
        return make()


@pytest.mark.torture
class TestDeletingAtOnce(TestSecretsManager):
    """Without a recovery window."""

    @pytest.fixture
    def provider(self, make):
        return make(force_delete=True)


@pytest.mark.torture
class TestPlainMoto(TestSecretsManager):
    """Whoever tries strongroom on moto meets moto's own rules."""

    @pytest.fixture
    def moto(self, plain_moto):
        return plain_moto


@pytest.mark.torture
class TestPlainMotoDeletingAtOnce(TestDeletingAtOnce):
    @pytest.fixture
    def moto(self, plain_moto):
        return plain_moto


class TestParameterStore(ProviderConformance):
    provider_class = AWSParameterProvider
    max_value_bytes = 4096
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


globals().update(behind_each(TestSecretsManager, beyond_sample=[pytest.mark.torture]))
globals().update(behind_each(TestParameterStore, beyond_sample=[pytest.mark.torture]))
