"""What AWS does and moto does not: moto's Secrets Manager, put right as AWS's API reference says.

Used by tests as `follow_aws(patch)`, on moto's own classes in this process; `patch` is a `pytest.MonkeyPatch`.
"""

from __future__ import annotations

import functools
import re
import threading
import time

from moto.secretsmanager.exceptions import (
    InvalidParameterException,
    InvalidRequestException,
    ResourceNotFoundException,
)
from moto.secretsmanager.models import FakeSecret, SecretsManagerBackend

MAX_LABELS = 20
MAX_BYTES = 65_536
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_lock = threading.RLock()

lingering: dict[str, float] = {}
"""Names that were deleted at once, and until when (`time.monotonic`) they cannot be used."""


def follow_aws(patch):
    lingering.clear()
    for name in vars(SecretsManagerBackend):
        method = getattr(SecretsManagerBackend, name)
        if not name.startswith("_") and callable(method):
            patch.setattr(SecretsManagerBackend, name, _one_at_a_time(_RULES.get(name, _pass)(method)))
    patch.setattr(FakeSecret, "_form_version_ids_to_stages", _labelled_versions)


def _one_at_a_time(method):
    @functools.wraps(method)
    def locked(*args, **kwargs):
        with _lock:
            return method(*args, **kwargs)

    return locked


def _pass(method):
    return method


def _labelled_versions(secret):
    return {
        version: list(entry["version_stages"])
        for version, entry in secret.versions.items()
        if entry["version_stages"]
    }


def _create(method):
    def create_secret(backend, name, *args, **kwargs):
        if not _NAME.fullmatch(name):
            raise InvalidParameterException(
                "Invalid name. Must be a valid name containing alphanumeric characters."
            )
        if lingering.get(name, 0) > time.monotonic() or (
            name in backend.secrets and backend.secrets[name].is_deleted()
        ):
            raise InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        return method(backend, name, *args, **kwargs)

    return create_secret


def _not_deleted(method):
    def call(backend, secret_id, *args, **kwargs):
        if secret_id in backend.secrets and backend.secrets[secret_id].is_deleted():
            raise InvalidRequestException(
                "You can't perform this operation on the secret because it was marked for deletion."
            )
        return method(backend, secret_id, *args, **kwargs)

    return call


def _put(method):
    @_not_deleted
    def put_secret_value(backend, secret_id, secret_string, *args, **kwargs):
        if len((secret_string or "").encode()) > MAX_BYTES:
            raise InvalidParameterException("The parameter SecretString is too long.")
        done = method(backend, secret_id, secret_string, *args, **kwargs)
        labels = [
            label
            for entry in backend.secrets[secret_id].versions.values()
            for label in entry["version_stages"]
        ]
        assert len(labels) == len(set(labels)), labels
        assert len(labels) <= MAX_LABELS, labels
        return done

    return put_secret_value


def _move(_):
    @_not_deleted
    def update_secret_version_stage(
        backend, secret_id, version_stage, remove_from_version_id, move_to_version_id
    ):
        if secret_id not in backend.secrets:
            raise ResourceNotFoundException("Secrets Manager can't find the specified secret.")
        secret = backend.secrets[secret_id]
        labels = {version: entry["version_stages"] for version, entry in secret.versions.items()}
        for version in (remove_from_version_id, move_to_version_id):
            if version and version not in labels:
                raise InvalidParameterException(f"Not a valid version: {version}")
        holder = next((version for version, held in labels.items() if version_stage in held), None)
        if holder != (remove_from_version_id or None):
            raise InvalidParameterException(
                f"The staging label {version_stage} is attached to version {holder}."
            )
        _relabel(labels, version_stage, holder, move_to_version_id)
        if version_stage == "AWSCURRENT" and move_to_version_id:
            previous = next((version for version, held in labels.items() if "AWSPREVIOUS" in held), None)
            _relabel(labels, "AWSPREVIOUS", previous, holder)
            secret.set_default_version_id(move_to_version_id)
        return secret.arn, secret.name

    return update_secret_version_stage


def _relabel(labels, label, before, after):
    if before:
        labels[before].remove(label)
    if after:
        labels[after].append(label)


_RULES = {
    "create_secret": _create,
    "put_secret_value": _put,
    "update_secret_version_stage": _move,
    "rotate_secret": _not_deleted,
}
