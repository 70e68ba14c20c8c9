"""An event as a line of JSON, exact whatever text it holds, and never with a value."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from json.encoder import encode_basestring_ascii as quoted

from strongroom.errors import show_key
from strongroom.hooks import SecretEvent
from strongroom.hooks.identity import build_service, coding_tool, host, system_user

__all__ = ["NOTE", "process_identity", "serialize_event", "serialize_note"]

NOTE = "note"
"""The operation of a line that the log itself adds, to say what happened to it."""

_MAX_CHARACTERS = 1024
"""A valid key has at most 512; a longer one was refused, and must not fill the disk."""


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
    pipeline, tenant, duration = event.pipeline, event.tenant, event.duration
    outcome, source, error_type = event.outcome, event.source, event.error_type
    return (
        f'{{"id":{quoted(event.id)},"operation":{quoted(event.operation)},"key":{_key(event.key)},'
        f'"pipeline":{"null" if pipeline is None else quoted(pipeline)},'
        f'"tenant":{"null" if tenant is None else quoted(tenant)},"actor":{_key(event.actor)},'
        f'"started_at":"{event.started_at.isoformat()}",'
        f'"duration":{"null" if duration is None else f"{duration:.6f}"},'
        f'"outcome":{"null" if outcome is None else quoted(outcome)},'
        f'"source":{"null" if source is None else quoted(source)},'
        f'"error_type":{"null" if error_type is None else quoted(error_type)},{who},'
        f'"reason":{"null" if reason is None else _key(reason)},'
        f'"batch":{"null" if batch is None else quoted(batch)}'
    )


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
