"""Answers without the requested data: refusals, and answers that are not the service's."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

__all__ = ["CutShortError", "OtherAnswerError", "Outcome", "Refusal"]


class CutShortError(Exception):
    """An answer that ended early, or is not the service's; botocore takes both for an empty one."""


class OtherAnswerError(CutShortError):
    """An answer about another secret: a proxy, or processes that share a connection, mixed them up."""


class Outcome(Enum):
    """Why a service refuses, in cases that may be an answer and no error."""

    ABSENT = "absent"
    DELETED = "waiting for deletion"
    DENIED = "denied"
    EXISTS = "exists"
    REFUSED = "refused"
    UNKNOWN_OPERATION = "unknown operation"


class Refusal(NamedTuple):
    """A refusal; `retried` if an earlier try may have taken effect unnoticed."""

    outcome: Outcome
    retried: bool
