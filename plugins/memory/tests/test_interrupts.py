"""A signal handler that raises in the middle of a write: all of it is there or nothing, and it is reported."""

from __future__ import annotations

import pytest
from interrupts import interrupted_at_each_moment
from strongroom.errors import SecretNotFoundError
from strongroom_memory import MemorySecretProvider


def stored():
    """Return a provider, and a list that gets what its subscriber hears: "missed" if it must look itself."""
    provider, heard = MemorySecretProvider(secrets={"a": "old", "b": "old"}), []
    provider.subscribe_changes(lambda changes: heard.extend([one.key for one in changes] or ["missed"]))
    return provider, heard


def test_a_batch_is_written_as_a_whole():
    for provider, heard in interrupted_at_each_moment(
        stored, lambda one: one[0].set_secrets({"a": "new", "b": "new", "c": "new"})
    ):
        values = provider.get_secrets(["a", "b", "c"])
        assert values in ({"a": "old", "b": "old"}, dict.fromkeys("abc", "new"))
        for key, value in values.items():
            described = provider.describe_secret(key)
            assert provider.get_secret_version(key, described.version) == value
            assert [one.version for one in provider.list_versions(key) if one.state == "current"] == [
                described.version
            ]
        provider.delete_secret("b")
        assert "a" in heard or "missed" in heard or values["a"] == "old"


def test_a_deleted_secret_is_gone():
    for provider, heard in interrupted_at_each_moment(stored, lambda one: one[0].delete_secret("a")):
        if "a" in provider.list_secrets():
            assert provider.get_secret("a") == "old"
            continue
        with pytest.raises(SecretNotFoundError):
            provider.describe_secret("a")
        provider.set_secret("b", "new")  # what was still to be reported comes with the next change
        assert "a" in heard or "missed" in heard
