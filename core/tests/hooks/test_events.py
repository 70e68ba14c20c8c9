"""Events are frozen, and hooks do nothing until they are overridden."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from strongroom import SecretEvent, SecretHook
from strongroom.hooks import report_source
from strongroom.hooks.observation import Observation, observation

EVENT = SecretEvent("1", "get", "key", "app", None, "somebody", datetime(2026, 1, 1, tzinfo=UTC))


def test_members_of_an_event():
    """The members are those of the contract, and none could hold a value."""
    assert [member.name for member in dataclasses.fields(SecretEvent)] == [
        *("id", "operation", "key", "pipeline", "tenant", "actor", "started_at"),
        *("duration", "outcome", "source", "error_type"),
    ]


def test_an_event_before_the_operation():
    """What is not known yet is None."""
    assert (EVENT.duration, EVENT.outcome, EVENT.source, EVENT.error_type) == (None, None, None, None)


def test_an_event_is_frozen():
    """No hook changes what the next one sees."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        EVENT.key = "other"
    assert not hasattr(EVENT, "__dict__")


def test_a_hook_does_nothing():
    """Whoever overrides one method leaves the other alone."""
    hook = SecretHook()
    assert (hook.before(EVENT), hook.after(EVENT)) == (None, None)
    assert hook.audit is False


def test_source_is_reported_to_the_operation_under_way():
    """A cache says where the value came from; the last word counts."""
    seen = Observation()
    token = observation.set(seen)
    try:
        report_source("l1")
        report_source("backend")
    finally:
        observation.reset(token)
    assert seen.source == "backend"


def test_source_without_an_operation():
    """With nobody watching, reporting does nothing."""
    assert observation.get() is None
    report_source("l2")
    assert observation.get() is None
