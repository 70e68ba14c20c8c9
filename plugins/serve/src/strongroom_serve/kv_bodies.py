"""The bodies of Vault's KV engine, version 2: values as members, and metadata of versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from strongroom.providers import SecretMetadata, SecretVersion

from strongroom_serve.answers import as_json, time_text
from strongroom_serve.asking import Asker

__all__ = ["GONE", "cas_of", "members_of", "metadata_of", "shown", "text_of", "version_info", "versions_of"]

VALUE: Final = "value"
GONE = frozenset({"deleted", "destroyed", "disabled"})
"""States of a version whose value cannot be read."""
_CAS_DIGITS = 18


def members_of(text: str) -> bytes:
    """Return the members for a text, as JSON.

    A text that is a JSON object of strings, with at least one member not named `value`, is that object; every
    other text is the member `value`.
    """
    if text.startswith(("{", " ", "\t", "\n", "\r")):
        found = _object_of_strings(text)
        if found and set(found) != {VALUE}:
            return as_json(found)
    return _as_value(text)


def _as_value(text: str) -> bytes:
    return b'{"value":%b}' % json.dumps(text, ensure_ascii=False).encode()


def text_of(members: Mapping[str, Any]) -> str:
    """Return the text to store: the only member `value`, else the object as our `vault` provider writes it.

    Raises:
        ValueError: A member is not a string of Unicode characters.
    """
    for name, value in members.items():
        if not (_is_text(value) and _is_text(name)):
            raise ValueError("members of `data` must be strings of Unicode characters")
    if set(members) == {VALUE}:
        return str(members[VALUE])
    return json.dumps(members, ensure_ascii=False)


def _object_of_strings(text: str) -> dict[str, str] | None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
        found = dict(pairs)
        return found if len(found) == len(pairs) else None  # else one of them would be lost

    try:
        members = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(members, dict):
        return None
    for name, value in members.items():
        if not (_is_text(value) and _is_text(name)):
            return None
    return members


def _is_text(value: object) -> bool:
    """Return whether `value` is a text that UTF-8 can write: one without surrogates."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(asker: Asker, value: str) -> bytes:
    """Return the members for a value, as JSON."""
    return _as_value(value) if asker.exact else members_of(value)


def cas_of(options: Mapping[str, Any]) -> int | None:
    """Return the number that a write is checked against; null is 0, and text is read, as OpenBao does it.

    Raises:
        ValueError: It is not a whole number from 0.
    """
    if "cas" not in options:
        return None
    given = options["cas"]
    text = str(0 if given is None else given)
    if isinstance(given, int | str | None) and text.isascii() and text.isdigit() and len(text) <= _CAS_DIGITS:
        return int(text)
    raise ValueError("`options.cas` must be a whole number from 0")


def metadata_of(number: int, created: str) -> bytes:
    """Return the metadata of a live version, as JSON."""
    return (
        b'{"created_time":"%b","custom_metadata":null,"deletion_time":"","destroyed":false,"version":%d}'
        % (created.encode(), number)
    )


def version_info(
    created: datetime | None, *, deleted_at: datetime | None = None, destroyed: bool = False
) -> dict[str, Any]:
    """Return the description of one version."""
    return {
        "created_time": time_text(created),
        "custom_metadata": None,
        "deletion_time": time_text(deleted_at) if deleted_at is not None else "",
        "destroyed": destroyed,
    }


def versions_of(
    metadata: SecretMetadata | None, shown: Mapping[int, SecretVersion], current: int, deleted_at: datetime
) -> dict[str, Any]:
    """Return the description of a secret and of its shown versions, by number."""
    oldest = min(shown, default=0)
    created = (
        metadata.created_at if metadata is not None and metadata.created_at else shown[oldest].created_at
    )
    updated = shown[current].created_at if current in shown else created
    versions = {}
    for number, version in sorted(shown.items()):
        is_gone = version.state in GONE or (metadata is None and number == current)
        info = version_info(version.created_at, deleted_at=deleted_at if is_gone else None)
        del info["custom_metadata"]
        versions[str(number)] = info | {"destroyed": version.state == "destroyed"}
    return {
        "cas_required": False,
        "created_time": time_text(created),
        "current_metadata_version": 0,
        "current_version": current,
        "custom_metadata": dict(metadata.tags) if metadata is not None and metadata.tags else None,
        "delete_version_after": "0s",
        "max_versions": 0,
        "metadata_cas_required": False,
        "oldest_version": oldest if oldest > 1 else 0,
        "updated_time": time_text(updated),
        "versions": versions,
    }
