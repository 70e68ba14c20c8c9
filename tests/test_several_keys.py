"""A batch takes several keys; one text in their place is refused, and not taken apart into characters."""

from __future__ import annotations

import asyncio

import pytest
from strongroom import (
    AESGCMEncryption,
    BatchDescriber,
    BatchReader,
    CachingMiddleware,
    EncryptionMiddleware,
    PrefixMiddleware,
    ReadOnlyMiddleware,
    RetryMiddleware,
    SecretProviderRegistry,
    TenantContext,
    TenantMiddleware,
    ValidationMiddleware,
    backends,
    generate_key,
)
from strongroom.aio import AsyncSecretRegistry
from strongroom.keys import check_keys
from strongroom_aws.parameters import AWSParameterProvider

KEY = generate_key()
DOWN = "127.0.0.1:1"
# None of them is asked anything: what is refused is refused before any I/O.
PROVIDERS = {
    "memory": lambda _: backends.MemorySecretProvider(secrets={"a": "1", "b": "2", "ab": "3"}),
    "env": lambda _: backends.EnvSecretProvider(),
    "file": lambda folder: backends.FileSecretProvider(folder / "s.enc", KEY),
    "vault": lambda _: backends.VaultSecretProvider(f"http://{DOWN}", "token"),
    "aws": lambda _: backends.AWSSecretProvider("us-east-1"),
    "aws.parameters": lambda _: AWSParameterProvider("us-east-1"),
    "gcp": lambda _: backends.GCPSecretProvider("project-1"),
    "azure": lambda _: backends.AzureSecretProvider("https://name.vault.azure.net"),
    "directory": backends.DirectorySecretProvider,
    "exec": lambda _: backends.ExecSecretProvider(["false"]),
    "keepass": lambda folder: backends.KeePassSecretProvider(folder / "s.kdbx", "password"),
    "pass": backends.PassSecretProvider,
    "sops": lambda folder: backends.SopsSecretProvider(folder / "s.yaml"),
    "postgresql": lambda _: backends.PostgreSQLSecretProvider(f"postgresql://{DOWN}/x", encryption_key=KEY),
    "etcd": lambda _: backends.EtcdSecretProvider(f"http://{DOWN}", encryption_key=KEY),
}
MIDDLEWARE = {
    "caching": CachingMiddleware,
    "encryption": lambda inner: EncryptionMiddleware(inner, AESGCMEncryption(KEY)),
    "prefix": lambda inner: PrefixMiddleware(inner, "p/"),
    "read-only": ReadOnlyMiddleware,
    "retry": RetryMiddleware,
    "tenant": TenantMiddleware,
    "validation": ValidationMiddleware,
}


def refuses_one_text(provider):
    for one in ("ab", b"ab"):
        with pytest.raises(TypeError, match="put one key into a list"):
            provider.get_secrets(one)
        if isinstance(provider, BatchDescriber):
            with pytest.raises(TypeError, match="put one key into a list"):
                provider.describe_secrets(one)


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_takes_no_text_for_keys(name, tmp_path):
    provider = PROVIDERS[name](tmp_path)
    assert isinstance(provider, BatchReader)
    refuses_one_text(provider)


@pytest.mark.parametrize("name", MIDDLEWARE)
def test_middleware_takes_no_text_for_keys(name, tmp_path):
    with TenantContext("acme"):
        refuses_one_text(MIDDLEWARE[name](PROVIDERS["memory"](tmp_path)))


def test_a_registry_takes_no_text_for_keys():
    """Four characters are four keys that are absent: the secret that is there would be told to be missing."""
    spec = {
        "version": 1,
        "pipelines": {
            "one": {"provider": {"type": "memory"}},
            "two": {"provider": {"type": "memory"}},
            "both": {"fallback": {"pipelines": ["one", "two"], "when": ["not_found"]}},
        },
        "default": "both",
    }
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("ab", "1")
        for name in ("one", "both"):
            refuses_one_text(registry.pipeline(name))
        refuses_one_text(registry)
        assert registry.get_secrets(["ab"]) == {"ab": "1"}

    async def ask():
        async with AsyncSecretRegistry(spec) as registry:
            for call in (registry.get_secrets, registry.describe_secrets):
                with pytest.raises(TypeError, match="put one key into a list"):
                    await call("ab")

    asyncio.run(ask())


def test_keys_are_asked_for_once_each_and_in_their_order():
    assert check_keys(iter(["b", "a", "b"])) == ["b", "a"]
