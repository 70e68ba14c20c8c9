"""A member that is added to a secret in JSON while others write there."""

from __future__ import annotations

import json

import pytest
from strongroom import SecretProviderRegistry
from strongroom.backends import MemorySecretProvider
from strongroom.cli.declared.members import add_member
from strongroom.errors import ConflictError, SecretNotFoundError, UnsupportedOperationError, ValidationError


class Busy(MemorySecretProvider):
    """Others write `theirs` right before a write of ours, as often as there is something in it."""

    def __init__(self, *theirs):
        super().__init__()
        self.theirs = list(theirs)

    def set_secret_if(self, key, value, expected_version):
        if self.theirs:
            self.set_secret(key, self.theirs.pop(0))
        return super().set_secret_if(key, value, expected_version)


class Unconditional(MemorySecretProvider):
    def set_secret_if(self, key, value, expected_version):
        raise UnsupportedOperationError("no conditional writes")


def registry_of(provider):
    registry = SecretProviderRegistry({"version": 1, "pipelines": {"own": {"provider": {"type": "memory"}}}})
    registry.register("busy", provider, prefix="b/")
    return registry


def test_what_others_wrote_meanwhile_stays():
    registry = registry_of(Busy('{"a": "1"}', '{"a": "1", "b": "2"}'))
    assert add_member(registry, "b/k", "ours", "v") == "v"
    assert json.loads(registry.get_secret("b/k")) == {"a": "1", "b": "2", "ours": "v"}


def test_the_member_that_another_process_made_counts():
    registry = registry_of(Busy('{"ours": "theirs"}'))
    assert add_member(registry, "b/k", "ours", "v") == "theirs"
    assert registry.get_secret("b/k") == '{"ours": "theirs"}'


def test_endless_writes_of_others_are_told():
    registry = registry_of(Busy(*(f'{{"n": {n}}}' for n in range(9))))
    with pytest.raises(ConflictError):
        add_member(registry, "b/k", "ours", "v")


def test_without_conditional_writes_it_is_written_all_the_same():
    registry = registry_of(Unconditional())
    assert add_member(registry, "b/k", "ours", "v") == "v"
    assert registry.get_secret("b/k") == '{"ours": "v"}'


def test_text_is_not_replaced():
    registry = registry_of(MemorySecretProvider())
    registry.set_secret("b/k", "plain")
    with pytest.raises(ValidationError):
        add_member(registry, "b/k", "ours", "v")
    assert registry.get_secret("b/k") == "plain"
    with pytest.raises(SecretNotFoundError):
        registry.get_secret("b/none")
