"""The environment variable that replaces an argument of ciphers and caches."""

from __future__ import annotations

import pytest
from strongroom import EncryptionMiddleware, SecretProviderRegistry
from strongroom.cache.entry_codec import shared_codec
from strongroom.errors import ConfigurationError
from strongroom.settings import required_encryption_key
from strongroom_memory import MemorySecretProvider

NAME = "STRONGROOM_ENCRYPTION_KEY"


def test_the_key_is_that_of_the_variable_and_of_no_other(monkeypatch):
    """`run` keeps this one from its child, and none that is only nearly called so."""
    monkeypatch.setenv(NAME.lower(), "hunter2 in small letters")
    with pytest.raises(ConfigurationError, match=NAME):
        required_encryption_key("there is no key", "key")
    monkeypatch.setenv(NAME, "hunter2 in capitals")
    assert required_encryption_key("there is no key", "key") == "hunter2 in capitals"


ENCRYPTED = {"provider": {"type": "memory"}, "middleware": [{"type": "encryption", "algorithm": "chacha20"}]}


@pytest.mark.parametrize(
    "make",
    [
        lambda: EncryptionMiddleware(MemorySecretProvider()),
        lambda: SecretProviderRegistry({"version": 1, "pipelines": {"app": ENCRYPTED}}),
        lambda: shared_codec(None, "namespace"),
    ],
    ids=["in Python", "in a spec", "of a cache"],
)
@pytest.mark.parametrize("value", ["", " ", "hunter2", "srk1_hunter2"])
def test_what_is_no_key_is_told_with_the_variable_that_holds_it(make, value, monkeypatch):
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert f"{NAME}: the " in str(caught.value)
    assert "hunter2" not in f"{caught.value!r}{caught.value}"
