"""Events are frozen, and hooks do nothing until they are overridden."""

from __future__ import annotations

import dataclasses
import os
import pickle
from datetime import UTC, datetime

import pytest
from strongroom import SecretEvent, SecretHook
from strongroom.hooks import acting_as, report_source
from strongroom.hooks.events import fill_in_event, finish_event, start_event
from strongroom.hooks.identity import actor, system_user
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


def test_an_event_that_begins_is_like_any_other():
    """It is made from a draft that is not frozen."""
    event = start_event("get", "key", "app", None, "somebody")
    made = SecretEvent(event.id, "get", "key", "app", None, "somebody", event.started_at)
    assert type(event) is SecretEvent
    assert (event, hash(event), repr(event)) == (made, hash(made), repr(made))
    assert pickle.loads(pickle.dumps(event)) == event
    assert dataclasses.replace(event, key="other").key == "other"
    for name in ("key", "__class__"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, name, "other")
    fill_in_event(event, 0.5, "ok", "l1", None)
    assert event == finish_event(made, 0.5, "ok", "l1", None, copy=True)


def test_the_actor_is_looked_up_for_each_event(monkeypatch):
    monkeypatch.delenv("STRONGROOM_ACTOR", raising=False)
    assert actor() == system_user()
    monkeypatch.setenv("STRONGROOM_ACTOR", "deploy")
    assert actor() == "deploy"
    with acting_as("client"):
        assert actor() == "client"
    monkeypatch.setenv("STRONGROOM_ACTOR", "")
    assert actor() == system_user()
    monkeypatch.setattr(os, "environ", {"STRONGROOM_ACTOR": "of a plain dictionary"})
    assert actor() == "of a plain dictionary"
    monkeypatch.setattr(os, "environ", {})
    assert actor() == system_user()


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
