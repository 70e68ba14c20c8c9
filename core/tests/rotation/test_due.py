"""When a rotation is due, and what a due run does about those that fail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rotation_support import BACKENDS, KEY, NEW, OLD, Clock, backend, failing, memory_with, rotation_of
from strongroom import SecretHook, SecretProviderRegistry, SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    PermissionDeniedError,
    RotationError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom_memory import MemorySecretProvider


def test_the_age_is_the_backends_against_the_clock():
    clock = Clock()
    rotation = SecretRotation(memory_with(clock=clock), 30, clock=clock)
    assert not rotation.needs_rotation(KEY)
    clock.pass_by(days=29, hours=23)
    assert not rotation.needs_rotation(KEY)
    clock.pass_by(hours=1)
    assert rotation.needs_rotation(KEY)
    rotation.rotate(KEY)
    assert not rotation.needs_rotation(KEY)
    with pytest.raises(SecretNotFoundError):
        rotation.needs_rotation("other")


def test_a_backend_that_tells_no_age_says_so():
    rotation = rotation_of(backend(memory_with(), BACKENDS["nothing"]))
    with pytest.raises(UnsupportedOperationError) as caught:
        rotation.needs_rotation(KEY)
    assert "on a schedule of your own" in str(caught.value)
    with pytest.raises(UnsupportedOperationError):
        rotation.rotate_due()
    (status,) = rotation.status()
    assert (status.state, status.version, status.rotated_at, status.due_at) == ("current", None, None, None)


def test_status_tells_where_each_secret_stands():
    clock = Clock()
    memory = MemorySecretProvider(secrets={"a/1": "1", "a/2": "2", "b": "3"}, clock=clock)
    with pytest.raises(RotationError):
        SecretRotation(memory, apply=failing, clock=clock).rotate("a/2")
    found = SecretRotation(memory, 10, clock=clock).status("a/")
    assert [(one.key, one.state, one.version) for one in found] == [
        ("a/1", "current", memory.describe_secret("a/1").version),
        ("a/2", "pending", memory.describe_secret("a/2").version),
    ]
    assert all(one.rotated_at == clock.now and one.due_at == clock.now + timedelta(days=10) for one in found)


def test_what_is_due_is_rotated_once_however_many_runs_were_missed():
    clock = Clock()
    memory = MemorySecretProvider(secrets={"a": "1", "b": "2", "c/d": "3"}, clock=clock)
    rotation = SecretRotation(memory, 30, clock=clock)
    assert rotation.rotate_due() == []
    clock.pass_by(days=400)
    memory.set_secret("b", "young")
    assert [(one.key, one.state) for one in rotation.rotate_due()] == [("a", "current"), ("c/d", "current")]
    assert rotation.rotate_due() == []
    assert memory.get_secret("b") == "young"


class Refusing(SecretHook):
    """Vetoes all operations on one key, with an error of its own."""

    def before(self, event):
        if event.operation == "rotate" and event.key == "a":
            raise LookupError("not during office hours")


def test_rotate_due_goes_on_past_a_veto_and_raises_it_at_the_end():
    clock = Clock()
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"m": {"provider": {"type": "memory"}}}}
    ) as registry:
        registry.set_secrets({"a": OLD, "b": OLD})
        registry.add_hook(Refusing())
        clock.pass_by(days=40)
        with pytest.raises(LookupError, match="office hours"):
            SecretRotation(registry, 30, clock=clock).rotate_due()
        assert registry.get_secret("a") == OLD
        assert registry.get_secret("b") != OLD


@pytest.mark.parametrize("made", [KeyError("b"), SecretNotFoundError("b"), None])
def test_rotate_due_goes_on_past_a_generator_that_fails_and_says_so(made):
    clock, memory = Clock(), MemorySecretProvider(secrets={"a": OLD, "b": OLD})

    def generator(key, _old):
        if key == "a":
            if made is not None:
                raise made
            return None
        return NEW

    clock.pass_by(days=40)
    with pytest.raises((RotationError, TypeError)):
        SecretRotation(memory, 30, generator=generator, clock=clock).rotate_due()
    assert (memory.get_secret("a"), memory.get_secret("b")) == (OLD, NEW)


def test_rotate_due_takes_a_prefix():
    clock = Clock()
    memory = MemorySecretProvider(secrets={"a": "1", "c/d": "3"}, clock=clock)
    clock.pass_by(days=31)
    assert [one.key for one in SecretRotation(memory, 30, clock=clock).rotate_due("c/")] == ["c/d"]
    assert memory.get_secret("a") == "1"


def test_what_is_due_is_spread_by_a_jitter_that_stays():
    clock = Clock()
    memory = MemorySecretProvider(secrets={f"k{n}": "x" for n in range(40)}, clock=clock)
    due = {one.due_at for one in SecretRotation(memory, 100, jitter=0.5, clock=clock).status()}
    again = {one.due_at for one in SecretRotation(memory, 100, jitter=0.5, clock=clock).status()}
    assert due == again
    assert len(due) == 40
    assert all(timedelta(days=50) <= one - clock.now <= timedelta(days=100) for one in due)
    assert max(due) - min(due) > timedelta(days=25)


@pytest.mark.parametrize(("step", "state"), [("apply", "pending"), ("verify", "applied")])
def test_one_that_fails_does_not_stop_the_others_and_is_tried_again_after_a_while(step, state):
    clock = Clock()
    memory = MemorySecretProvider(secrets={"a": "1", "b": "2", "c": "3"}, clock=clock)
    tried = []

    def apply(key, old, new):
        tried.append(key)
        if key == "b" and step == "apply":
            failing()

    def verify(key, value):
        if key == "b" and step == "verify":
            failing()

    rotation = SecretRotation(memory, 30, apply=apply, verify=verify, clock=clock)
    clock.pass_by(days=30)
    results = rotation.rotate_due()
    assert [(one.key, one.state) for one in results] == [
        ("a", "current"),
        ("b", state),
        ("c", "current"),
    ]
    assert [(one.key, one.state) for one in rotation.rotate_due()] == [("b", state)]
    assert rotation.rotate_due() == []
    for minutes in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1440, 1440, 1440):
        before = len(tried)
        for _ in range(2):  # looking too soon does not put it off
            clock.pass_by(seconds=60 * minutes * 0.49)
            rotation.rotate_due("b")
            assert len(tried) == before, minutes
        clock.pass_by(seconds=60 * minutes * 0.03)
        rotation.rotate_due("b")
        assert len(tried) == before + 1, minutes
    clock.pass_by(days=-400)  # it was ahead, and is set right: nobody waits for a year
    rotation.rotate_due("b")
    assert len(tried) == before + 2
    good = SecretRotation(memory, 30, clock=clock)
    clock.pass_by(days=1)
    assert [(one.key, one.state) for one in good.rotate_due("b")] == [("b", "current")]


def test_the_next_due_run_resumes_what_failed_once(abilities):
    """Whoever has mended the cause runs it right away, and is not told that there is nothing to do."""
    if "describe_secret" not in abilities:
        return
    broken, memory = [True], memory_with()

    def apply(_key, _old, _new):
        if broken:
            failing()

    rotation = SecretRotation(backend(memory, abilities), apply=apply, lock=MemoryCacheStore())
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    broken.clear()
    assert [(one.key, one.state) for one in rotation.rotate_due()] == [(KEY, "current")]
    assert memory.get_secret(KEY) == NEW


def test_a_backend_error_of_one_key_comes_out_when_all_were_tried():
    clock = Clock()

    class Partly(MemorySecretProvider):
        def stage_secret(self, key, value):
            if key == "a":
                raise PermissionDeniedError("not a", key=key)
            return super().stage_secret(key, value)

    memory = Partly(secrets={"a": "1", "b": "2"}, clock=clock)
    clock.pass_by(days=30)
    with pytest.raises(PermissionDeniedError, match="not a"):
        SecretRotation(memory, 30, clock=clock).rotate_due()
    assert memory.get_secret("b") != "2"
