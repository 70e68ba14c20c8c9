"""Rotation in KV version 2 by check-and-set, and in version 1, which has neither versions nor that."""

from __future__ import annotations

import json

import pytest
from strongroom import SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import ConflictError, RotationError, ValidationError
from strongroom_vault import VaultSecretProvider

KEY = "database/password"


def no(*_):
    raise ConnectionError


def test_a_secret_is_rotated_resumed_and_rolled_back(server, any_mount):
    lock = MemoryCacheStore()
    with VaultSecretProvider(server.url, server.token, any_mount) as provider:
        provider.set_secret(KEY, "first")
        seen = []
        rotation = SecretRotation(
            provider, apply=lambda *call: seen.append(call), grace_seconds=60, lock=lock
        )
        result = rotation.rotate(KEY, "second")
        assert provider.get_secret(KEY) == "second"
        with pytest.raises(RotationError):
            SecretRotation(provider, apply=no, lock=lock).rotate(KEY, "third")
        assert provider.get_secret(KEY) == "second"
        with pytest.raises(ConflictError):
            rotation.rotate(KEY)
        assert rotation.resume(KEY).state == "current"
        assert provider.get_secret(KEY) == "third"
        assert rotation.rollback(KEY).state == "rolled_back"
        assert provider.get_secret(KEY) == "second"
        assert seen == [
            (KEY, "first", "second"),
            (KEY, "second", "third"),
            (KEY, "third", "second"),
        ]
        if result.old_version is not None:
            assert provider.get_secret_version(KEY, result.old_version) == "first"
        assert provider.list_secrets() == [KEY]


@pytest.mark.parametrize("kept", [1, 2])
def test_a_rollback_within_the_grace_needs_two_versions_kept(server, mount, kept):
    server.client.secrets.kv.v2.update_metadata(KEY, mount_point=mount, max_versions=kept)
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        provider.set_secret(KEY, "first")
        rotation = SecretRotation(provider, apply=lambda *_: None, grace_seconds=60, lock=MemoryCacheStore())
        rotation.rotate(KEY, "second")
        if kept == 1:
            with pytest.raises(RotationError, match="no longer there"):
                rotation.rollback(KEY)
        else:
            rotation.rollback(KEY)
        assert provider.get_secret(KEY) == ("second" if kept == 1 else "first")


def test_the_age_is_vaults(server, mount):
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        provider.set_secret(KEY, "first")
        (status,) = SecretRotation(provider, 30).status()
        assert (status.state, status.version) == ("current", "1")
        assert (status.due_at - status.rotated_at).days == 30
        assert not SecretRotation(provider, 30).needs_rotation(KEY)
        assert SecretRotation(provider, 0).needs_rotation(KEY)


def test_a_write_of_somebody_else_is_not_overwritten(server, mount):
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        provider.set_secret(KEY, "first")

        def meanwhile(key, old, new):
            server.client.secrets.kv.v2.create_or_update_secret(key, {"value": "theirs"}, mount_point=mount)

        rotation = SecretRotation(provider, apply=meanwhile)
        with pytest.raises(ConflictError):
            rotation.rotate(KEY)
        assert provider.get_secret(KEY) == "theirs"


@pytest.mark.parametrize("fields", [{"user": "u", "password": "old"}, {"only": "old"}])
def test_a_value_that_does_not_fit_the_fields_is_refused_before_the_target_system_gets_it(
    server, mount, fields
):
    server.client.secrets.kv.v2.create_or_update_secret(KEY, fields, mount_point=mount)
    applied = []
    with VaultSecretProvider(server.url, server.token, mount) as provider:
        rotation = SecretRotation(provider, apply=lambda *values: applied.append(values))
        with pytest.raises(ValidationError, match="has several fields"):
            rotation.rotate(KEY, "plain")
        assert applied == []
        assert rotation.status_of(KEY).state == "current"
        new = json.dumps({**fields, "password": "new"})
        rotation.rotate(KEY, new)
        assert json.loads(provider.get_secret(KEY)) == json.loads(new)
        assert len(applied) == 1
        # A text that looks like an object, in the one field `value`, is replaced as any.
        provider.delete_secret(KEY)
        server.client.secrets.kv.v2.create_or_update_secret(KEY, {"value": "{}"}, mount_point=mount)
        rotation.rotate(KEY, "plain")
        assert provider.get_secret(KEY) == "plain"
