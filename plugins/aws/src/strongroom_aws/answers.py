"""Reads Secrets Manager's answers about a secret, and makes strongroom's errors of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strongroom.errors import ConflictError, SecretNotFoundError, show_key

from strongroom_aws.payload import binary, decode
from strongroom_aws.versions import current_of


def is_listed(entry: Mapping[str, Any]) -> bool:
    """Return whether a secret of a list has a value, as far as the list says."""
    stages = entry.get("SecretVersionsToStages")
    return entry.get("DeletedDate") is None and (stages is None or current_of(entry) is not None)


def is_absence(error: Mapping[str, Any]) -> bool:
    """Return whether an error within a batch says that there is no such secret."""
    return error.get("ErrorCode") == "ResourceNotFoundException"


def is_deletion(error: Mapping[str, Any]) -> bool:
    """Return whether an error within a batch says that the secret waits for its deletion."""
    from strongroom_aws.errors import is_to_be_deleted

    code = error.get("ErrorCode")
    return code == "InvalidRequestException" and is_to_be_deleted(str(error.get("Message")))


def text_of(answer: Mapping[str, Any], key: str) -> str:
    """Return the value in an answer; raise `ValidationError` if it is binary."""
    text = answer.get("SecretString")
    if text is None:
        raise binary(key, "aws")
    return decode(text, key, "aws")


def absent(key: str) -> SecretNotFoundError:
    """Return the error for a key without a secret."""
    return SecretNotFoundError(key, provider="aws")


def deleted(key: str) -> SecretNotFoundError:
    """Return the error for a secret that waits for its deletion."""
    return SecretNotFoundError(
        key, reason="deleted", provider="aws", hint="it can be restored: `aws secretsmanager restore-secret`"
    )


def no_version(key: str) -> SecretNotFoundError:
    """Return the error for a version that is not there."""
    return SecretNotFoundError(key, f"secret {show_key(key)} has no such version", provider="aws")


def conflict(key: str, why: str) -> ConflictError:
    """Return the error for a write after somebody else's."""
    return ConflictError(
        f"secret {show_key(key)} was not written: {why}",
        key=key,
        provider="aws",
        hint="read it again, then decide",
    )
