"""Hooks: what they see of an operation, and who runs it."""

from __future__ import annotations

from strongroom.hooks.base import BatchHook, SecretHook
from strongroom.hooks.events import Outcome, SecretEvent, Source
from strongroom.hooks.identity import acting_as
from strongroom.hooks.observation import report_source

__all__ = [
    "BatchHook",
    "Outcome",
    "SecretEvent",
    "SecretHook",
    "Source",
    "acting_as",
    "report_source",
]
