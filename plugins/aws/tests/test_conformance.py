"""The kit, through real boto3 on moto's server."""

from __future__ import annotations

import pytest
from strongroom.testing import ProviderConformance
from strongroom_aws import AWSParameterProvider
from strongroom_aws.names import MARKER
from strongroom_aws.payload import BASE64_MARK, TEXT_MARK
from strongroom_aws.provider import MAX_VALUE_BYTES

TWO_VERSIONS = "AWS keeps a label on the current and the previous version, and may delete any older one"


class TestSecretsManager(ProviderConformance):
    max_value_bytes = MAX_VALUE_BYTES
    hostile_keys = (f"a{MARKER}2f", f"{MARKER}h{'0' * 64}", "name-AbCdEf", "with space", "k" * 512)
    hostile_values = (TEXT_MARK, BASE64_MARK, f"{TEXT_MARK}x", "{{x}}")
    sdk_modules = ("boto3", "botocore", "urllib3")
    construction = "from strongroom_aws import AWSSecretProvider; AWSSecretProvider('us-east-1')"

    @pytest.fixture
    def provider(self, make):
        return make(force_delete=True)

    @pytest.fixture
    def reopened(self, make, provider):
        return make(force_delete=True)

    @pytest.mark.xfail(reason=TWO_VERSIONS)
    def test_versions_newest_first(self, provider):
        super().test_versions_newest_first(provider)

    @pytest.mark.xfail(reason=TWO_VERSIONS)
    def test_every_version_can_be_read(self, provider):
        super().test_every_version_can_be_read(provider)

    @pytest.mark.xfail(reason=TWO_VERSIONS)
    def test_another_provider_reads_versions(self, provider, reopened):
        super().test_another_provider_reads_versions(provider, reopened)

    @pytest.mark.xfail(
        reason="moto gives the first version AWSCURRENT whatever labels are asked for; AWS does not"
    )
    def test_staging_a_new_key_does_not_create_it(self, provider):
        super().test_staging_a_new_key_does_not_create_it(provider)


class TestParameterStore(ProviderConformance):
    max_value_bytes = 4096
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

    @pytest.mark.xfail(reason="the service numbers the versions of a parameter that was deleted from 1 again")
    def test_version_ids_are_not_used_twice(self, provider):
        super().test_version_ids_are_not_used_twice(provider)
