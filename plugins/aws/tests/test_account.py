"""Whose secrets a shared cache holds: the account, and not the credentials, nor how they were found."""

from __future__ import annotations

import pytest
from strongroom import CachingMiddleware, generate_key
from strongroom.cache import MemoryCacheStore
from strongroom.encryption import AESGCMEncryption
from strongroom.errors import ConfigurationError
from strongroom_aws import AWSParameterProvider, AWSSecretProvider

ROLE = "arn:aws:iam::222222222222:role/reader"


def made(address, cls=AWSSecretProvider, **options):
    chosen = {"region_name": "eu-west-1", "access_key_id": "testing", "secret_access_key": "testing"}
    return cls(endpoint_url=address, **{**chosen, **options})


def test_the_account_is_told_by_sts_and_a_role_by_its_own_name(moto):
    with made(moto) as plain, made(moto, secret_access_key="another") as same:
        assert plain.account() == same.account() == f"123456789012 eu-west-1 {moto}"
    with made(moto, role_arn=ROLE) as role:
        assert role.account().startswith("222222222222 ")
    with made(moto, AWSParameterProvider, region_name="us-east-1") as elsewhere:
        assert elsewhere.account() == f"123456789012 us-east-1 {moto}"


def test_a_region_of_the_environment_is_the_same_as_one_that_is_given(moto, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with made(moto, region_name=None) as one, made(moto) as other:
        assert one.account() == other.account()


@pytest.mark.parametrize("role", [None, ROLE])
@pytest.mark.parametrize("wrong", [{"region_name": None}, {"profile_name": "nobody"}])
def test_what_keeps_the_account_from_being_known_is_an_error_of_ours(monkeypatch, tmp_path, wrong, role):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    provider = made("http://127.0.0.1:1", role_arn=role, **wrong)
    with provider, pytest.raises(ConfigurationError) as caught:
        provider.account()
    assert caught.value.provider == "aws"


def test_accounts_of_the_environment_do_not_share_a_second_level(moto, monkeypatch):
    store, cipher = MemoryCacheStore(), AESGCMEncryption(generate_key())
    values = []
    for role in (None, ROLE):
        with made(moto, role_arn=role) as provider:
            provider.set_secret("db", f"of {role}")
            cached = CachingMiddleware(provider, l2=store, encryption=cipher)
            values.append(cached.get_secret("db"))
    assert values == ["of None", f"of {ROLE}"]


def test_repr_shows_where_and_no_secret(moto):
    with made(moto, role_arn=ROLE, secret_access_key="hunter22hunter22") as provider:
        text = repr(provider)
    assert "eu-west-1" in text
    assert ROLE in text
    assert "hunter22" not in text
    assert "testing" not in text
