"""Limits that make no sense are refused by each backend's constructor, before any I/O."""

from __future__ import annotations

import pytest
from strongroom.errors import ConfigurationError
from strongroom_aws import AWSParameterProvider, AWSSecretProvider
from strongroom_azure import AzureSecretProvider
from strongroom_etcd import EtcdSecretProvider
from strongroom_gcp import GCPSecretProvider
from strongroom_postgresql import PostgreSQLSecretProvider
from strongroom_redis import RedisCacheStore
from strongroom_vault import VaultSecretProvider
from strongroom_vault.transit import VaultTransitEncryption

MAKERS = {
    "aws": lambda **limits: AWSSecretProvider("eu-west-1", **limits),
    "aws.parameters": lambda **limits: AWSParameterProvider("eu-west-1", **limits),
    "azure": lambda **limits: AzureSecretProvider("https://v.vault.azure.net", **limits),
    "gcp": lambda **limits: GCPSecretProvider("project", **limits),
    "etcd": lambda **limits: EtcdSecretProvider("http://etcd.example", encryption_key=bytes(32), **limits),
    "postgresql": lambda **limits: PostgreSQLSecretProvider(
        "postgresql://db.example", encryption_key=bytes(32), **limits
    ),
    "redis": lambda **limits: RedisCacheStore("redis://localhost", **limits),
    "vault": lambda **limits: VaultSecretProvider("https://vault.example", **limits),
    "vault.transit": lambda **limits: VaultTransitEncryption("https://vault.example", "key", **limits),
}
COUNTS = {"azure": "max_workers", "gcp": "max_workers"}


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), "10", True])
@pytest.mark.parametrize("which", MAKERS)
def test_seconds_that_are_no_finite_time_are_refused(which, wrong):
    names = {"redis": ["timeout_seconds"], "vault.transit": ["timeout"]}.get(which, ["timeout", "deadline"])
    for name in names:
        with pytest.raises(ConfigurationError, match=f"{name} must be more than 0 seconds"):
            MAKERS[which](**{name: wrong})


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "8"])
@pytest.mark.parametrize("which", [name for name in MAKERS if name != "redis"])
def test_counts_below_one_are_refused(which, wrong):
    name = COUNTS.get(which, "max_connections")
    with pytest.raises(ConfigurationError, match=f"{name} must be 1 or more"):
        MAKERS[which](**{name: wrong})


@pytest.mark.parametrize("wrong", [6, 31, 0])
def test_days_in_which_a_secret_can_be_restored(wrong):
    with pytest.raises(ConfigurationError, match="recovery_window_days must be 7 to 30"):
        AWSSecretProvider("eu-west-1", recovery_window_days=wrong)
