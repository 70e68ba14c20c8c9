"""An event as a line of JSON, exact whatever text it holds, and never with a value."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted

from strongroom.errors import show_key
from strongroom.hooks import SecretEvent
from strongroom.hooks.identity import build_service, coding_tool, host, system_user

__all__ = ["NOTE", "process_identity", "serialize_event", "serialize_note"]

NOTE = "note"
"""The operation of a line that the log itself adds, to say what happened to it."""

_MAX_CHARACTERS = 1024
"""A valid key has at most 512; a longer one was refused, and must not fill the disk."""
_DIGITS = len("2026-01-01T00:00:00")


def process_identity() -> str:
    """Return the members that say which process acts: user, pid, host, build service, coding tool."""
    members = {
        "user": system_user(),
        "pid": os.getpid(),
        "host": host(),
        "ci": build_service(os.environ),
        "tool": coding_tool(os.environ),
    }
    return json.dumps(members, separators=(",", ":"))[1:-1]


def serialize_event(event: SecretEvent, who: str, reason: str | None, batch: str | None = None) -> str:
    """Return the line of `event`, ASCII, without the brace that closes it: a chain may add members.

    Args:
        event: The event; members keep their names.
        who: What `process_identity` returned.
        reason: Why it was done.
        batch: The id that all events of one batch share.
    """
    # By hand because this is on the path of every audited read; a test holds it equal to `json`.
    duration = event.duration
    before = (event.operation, event.key, event.pipeline, event.tenant, event.actor)
    after = (event.outcome, event.source, event.error_type, who, reason)
    try:
        begin, end = _begins[before], _ends[after]
    except (KeyError, TypeError):  # TypeError: what has no hash was given as a key, and refused
        begin, end = _begin(*before), _end(*after)
    return (
        f'{{"id":{quoted(event.id)},{begin},"started_at":"{_time(event.started_at)}",'
        f'"duration":{"null" if duration is None else f"{duration:.6f}"},{end},'
        f'"batch":{"null" if batch is None else quoted(batch)}'
    )


# What members came to, by their values: most are those of an earlier line.
_begins: dict[tuple[str | None, ...], str] = {}
_ends: dict[tuple[str | None, ...], str] = {}
_MOST_KEPT, _LONGEST_KEPT = 1024, 2048
"""Most come to 500 characters, so that all together are far from the 40 MB that long keys would take."""


def _kept(texts: dict[tuple[str | None, ...], str], members: tuple[str | None, ...], text: str) -> str:
    """Return `text`, and remember it for `members`, unless one is odd or long, as a refused key may be."""
    plain = [one for one in members if type(one) is str]
    is_short = len(text) + sum(map(len, plain)) <= _LONGEST_KEPT  # a character may take twelve in the line
    if is_short and len(plain) + members.count(None) == len(members):
        if len(texts) >= _MOST_KEPT:
            texts.clear()
        texts[members] = text
    return text


def _begin(operation: str, key: str, pipeline: str | None, tenant: str | None, actor: str) -> str:
    return _kept(
        _begins,
        (operation, key, pipeline, tenant, actor),
        f'"operation":{quoted(operation)},"key":{_key(key)},'
        f'"pipeline":{"null" if pipeline is None else quoted(pipeline)},'
        f'"tenant":{"null" if tenant is None else quoted(tenant)},"actor":{_key(actor)}',
    )


def _end(
    outcome: str | None, source: str | None, error_type: str | None, who: str, reason: str | None
) -> str:
    return _kept(
        _ends,
        (outcome, source, error_type, who, reason),
        f'"outcome":{"null" if outcome is None else quoted(outcome)},'
        f'"source":{"null" if source is None else quoted(source)},'
        f'"error_type":{"null" if error_type is None else quoted(error_type)},{who},'
        f'"reason":{"null" if reason is None else _key(reason)}',
    )


_second = (datetime.min.replace(tzinfo=UTC), "")
"""The second of the last line, and its digits."""


def _time(at: datetime) -> str:
    """Return `at.isoformat()`; what comes before its fraction is made once a second."""
    global _second  # noqa: PLW0603  # both of it at once: threads may call
    micro = at.microsecond
    if at.tzinfo is not UTC or not micro:
        return at.isoformat()
    begin, digits = _second
    since = at - begin
    if since.days or since.seconds:
        begin = at.replace(microsecond=0)
        digits = begin.isoformat()[:_DIGITS]
        _second = (begin, digits)
    return "%s.%06d+00:00" % (digits, micro)  # noqa: UP031  # half the time of an f-string


def serialize_note(event: SecretEvent, who: str, note: dict[str, object]) -> str:
    """Return the line that says what happened to the log itself, as `serialize_event` does."""
    return f'{serialize_event(event, who, None)},"note":{json.dumps(note, separators=(",", ":"))}'


def _key(key: str) -> str:
    if not isinstance(key, str):  # a caller gave something else, and was refused
        return quoted(show_key(key))
    if len(key) > _MAX_CHARACTERS:
        return quoted(f"{key[:_MAX_CHARACTERS]}… ({len(key)} characters)")
    return quoted(key)


def unchained_lines(texts: Sequence[str]) -> list[str]:
    """Return whole lines for a log without a chain."""
    return [f"{text}}}" for text in texts]
