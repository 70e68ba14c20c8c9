"""The state and times of a version, from the server's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from strongroom.providers import VersionState

LONGEST_NUMBER = 18
"""Digits of a version's number; servers refuse one of more than 63 bits as malformed."""
_RESOLUTION = timedelta(seconds=1)
_UNKNOWN = datetime.fromtimestamp(0, UTC)
"""What `strongroom serve` gives as the time of what its backend has no time of."""
_LAST = datetime.max.replace(tzinfo=UTC) - _RESOLUTION


def metadata_in(answer: object) -> dict[str, Any] | None:
    """Return the metadata of a secret, with its versions and tags; None if no server gives such ones."""
    if not isinstance(answer, dict):
        return None
    versions, tags = answer.get("versions") or {}, answer.get("custom_metadata") or {}
    if (
        isinstance(answer.get("current_version"), int)
        and isinstance(versions, dict)
        and all(_is_number(number) and isinstance(one, dict) for number, one in versions.items())
        and isinstance(tags, dict)
        and all(isinstance(one, str) for one in tags.values())
    ):
        return {**answer, "versions": versions, "custom_metadata": tags}
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER


def state_of(info: Mapping[str, Any], is_current: bool, now: datetime) -> VersionState:
    """Return the state of a version at `now`.

    A version that is going to be deleted (`delete_version_after`) has its `deletion_time` from the beginning.
    """
    if info.get("destroyed"):
        return "destroyed"
    deletion = info.get("deletion_time")
    gone = time_of(deletion)
    if deletion and (gone is None or gone <= now):
        return "deleted"
    return "current" if is_current else "previous"


def time_of(text: object) -> datetime | None:
    """Return the time in `text`, of RFC 3339; None if it is empty, or another server's and not such a time.

    A value can be read without it.
    """
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if found is None or found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def made_at(text: object) -> datetime | None:
    """Return when a secret or a version was made, as `time_of` does; None if the server does not know it."""
    found = time_of(text)
    return None if found == _UNKNOWN else found


def server_time(date: str | None) -> datetime:
    """Return the time at which the server answered, by its header `Date`, which has whole seconds.

    If the clock of this machine agrees, its exact time is returned; else the end of the second, so that a
    version that was deleted a moment ago counts as deleted.
    """
    from strongroom.clients import parse_http_date

    here = datetime.now(UTC)
    there = parse_http_date(date)
    if there is None or there > _LAST:
        return here
    return here if there <= here < there + _RESOLUTION else there + _RESOLUTION
