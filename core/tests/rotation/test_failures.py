"""Rotations that fail: what is in flight, what is resumed and rolled back, and what their errors say."""

from __future__ import annotations

import logging
import traceback

import pytest
from rotation_support import (
    KEY,
    NEW,
    OLD,
    Target,
    backend,
    failing,
    leftovers,
    memory_with,
    rotation_of,
    states,
)
from strongroom import ReadOnlyMiddleware, SecretRotation, ValidationMiddleware
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    PermissionDeniedError,
    ReadOnlyError,
    RotationError,
    ValidationError,
)
from strongroom_memory import MemorySecretProvider


def failing_with(text):
    raise ConnectionError(text)


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_what_fails_is_in_flight_until_it_is_resumed(abilities, step):
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)
    good = {"apply": target.apply, "verify": target.verify}
    lock = MemoryCacheStore()
    with pytest.raises(RotationError, match=f"{step} failed: ConnectionError: the database is down"):
        SecretRotation(provider, lock=lock, **{**good, step: failing}).rotate(KEY, NEW)
    assert memory.get_secret(KEY) == OLD
    rotation = SecretRotation(provider, lock=lock, **good)
    (status,) = rotation.status()
    assert status.state == {"apply": "pending", "verify": "applied"}[step]
    assert status.last_error == f"{step}: ConnectionError: the database is down"
    for _ in range(2):
        with pytest.raises(ConflictError, match="in flight"):
            rotation.rotate(KEY)
    assert rotation.resume(KEY).state == "current"
    assert memory.get_secret(KEY) == NEW == target.password
    assert not leftovers(memory)
    (status,) = rotation.status()
    assert (status.state, status.last_error) == ("current", None)


def test_a_resumption_applies_once_more_what_the_target_system_does_not_have(abilities):
    """It was restored from a backup, or its `apply` said that all went well and had changed nothing."""
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)
    careless = SecretRotation(
        provider, apply=lambda *_: None, verify=target.verify, lock=(lock := MemoryCacheStore())
    )
    with pytest.raises(RotationError, match="resume it to try again"):
        careless.rotate(KEY, NEW)
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock)
    assert rotation.status_of(KEY).state == "applied"
    assert rotation.resume(KEY).state == "current"
    assert target.calls == [(KEY, OLD, NEW)]
    assert memory.get_secret(KEY) == NEW == target.password
    assert not leftovers(memory)


def test_a_resumption_leaves_alone_what_the_target_system_has(abilities):
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)
    lock = MemoryCacheStore()
    blind = SecretRotation(provider, apply=target.apply, verify=lambda *_: False, lock=lock)
    with pytest.raises(RotationError):
        blind.rotate(KEY, NEW)
    SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock).resume(KEY)
    assert len(target.calls) == 1
    assert memory.get_secret(KEY) == NEW


def test_a_resumption_that_is_refused_again_can_be_rolled_back(abilities):
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)
    rotation = SecretRotation(
        provider, apply=target.apply, verify=lambda _, value: value == OLD, lock=MemoryCacheStore()
    )
    for way in (rotation.rotate, rotation.resume, rotation.resume):
        with pytest.raises(RotationError, match="verify failed"):
            way(KEY)
        assert rotation.status_of(KEY).state == "applied"
    assert len(target.calls) == 3
    assert rotation.rollback(KEY).state == "rolled_back"
    assert target.password == OLD == memory.get_secret(KEY)


def test_a_verification_that_returns_false_has_failed_and_none_has_not(abilities):
    memory, lock = memory_with(), MemoryCacheStore()
    provider = backend(memory, abilities)
    with pytest.raises(RotationError, match="verify failed: it returned False"):
        SecretRotation(provider, verify=lambda *_: False, lock=lock).rotate(KEY, NEW)
    assert memory.get_secret(KEY) == OLD
    assert SecretRotation(provider, verify=lambda *_: None, lock=lock).resume(KEY).state == "current"


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_what_failed_can_be_rolled_back(abilities, step):
    memory, target = memory_with(), Target()
    good = {"apply": target.apply, "verify": target.verify}
    rotation = SecretRotation(backend(memory, abilities), lock=MemoryCacheStore(), **{**good, step: failing})
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    if step == "verify":
        assert target.password == NEW
    result = (rotation if step == "verify" else rotation_of(backend(memory, abilities), target)).rollback(KEY)
    assert result.state == "rolled_back"
    assert memory.get_secret(KEY) == OLD == target.password
    assert not leftovers(memory)
    assert "pending" not in states(memory)


def test_an_apply_that_always_fails_can_be_rolled_back_all_the_same(abilities):
    memory = memory_with()
    rotation = SecretRotation(backend(memory, abilities), apply=failing, lock=MemoryCacheStore())
    with pytest.raises(RotationError):
        rotation.rotate(KEY)
    assert rotation.rollback(KEY).state == "rolled_back"
    assert not leftovers(memory)


def test_a_rollback_whose_apply_fails_stays_in_flight():
    memory, target = memory_with(), Target()
    with pytest.raises(RotationError):
        SecretRotation(memory, apply=target.apply, verify=failing).rotate(KEY, NEW)
    with pytest.raises(RotationError, match="apply failed"):
        SecretRotation(memory, apply=failing).rollback(KEY)
    with pytest.raises(ConflictError):
        SecretRotation(memory).rotate(KEY)
    assert rotation_of(memory, target).rollback(KEY).state == "rolled_back"
    assert target.password == OLD


def test_with_nothing_in_flight_there_is_nothing_to_resume_or_roll_back(abilities):
    rotation = rotation_of(backend(memory_with(), abilities))
    for method in (rotation.resume, rotation.rollback):
        with pytest.raises(RotationError, match="in flight"):
            method(KEY)
    rotation.rotate(KEY)
    for method in (rotation.resume, rotation.rollback):
        with pytest.raises(RotationError, match="in flight"):
            method(KEY)


def test_a_secret_that_somebody_else_changed_is_not_overwritten(abilities):
    memory = memory_with()

    def apply(key, old, new):
        memory.set_secret(key, "theirs")

    rotation = SecretRotation(backend(memory, abilities), apply=apply, lock=MemoryCacheStore())
    with pytest.raises(ConflictError, match="changed while it was being rotated"):
        rotation.rotate(KEY, NEW)
    assert memory.get_secret(KEY) == "theirs"
    undone = []
    quiet = SecretRotation(
        backend(memory, abilities), apply=lambda *call: undone.append(call), lock=MemoryCacheStore()
    )
    assert quiet.rollback(KEY).state == "rolled_back"
    assert undone == [(KEY, NEW, "theirs")]  # which is what readers get
    assert memory.get_secret(KEY) == "theirs"
    assert not leftovers(memory)


@pytest.mark.parametrize("value", ["x", "correct horse", 'two\nlines of "it"', "ünïcödé-välue", "a b/c+d%e"])
@pytest.mark.parametrize("step", ["apply", "verify"])
def test_no_error_tells_a_value(value, step, caplog):
    memory = memory_with("old " + value)
    caplog.set_level(logging.DEBUG)
    events = []

    def talks(key, *values):
        try:
            raise KeyError(values)  # noqa: TRY301  # what an error was raised in the handling of
        except KeyError:
            raise ValueError(f"could not set {values!r} for {values[-1]}") from None

    rotation = SecretRotation(memory, on_event=events.append, **{step: talks})
    with pytest.raises(RotationError) as caught:
        rotation.rotate(KEY, value)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    (status,) = rotation.status()
    trace = "".join(traceback.format_exception(error))
    for text in (
        str(error),
        repr(error),
        trace,
        status.last_error,
        caplog.text,
        repr(events),
        repr(rotation),
    ):
        assert "ValueError" in text or text in {caplog.text, repr(events), repr(rotation)}
        if len(value) > 1:
            assert value not in text
            assert repr(value)[1:-1] not in text


def test_an_error_of_validation_comes_before_anything_happens(abilities):
    memory, target = memory_with(), Target()
    provider = ValidationMiddleware(backend(memory, abilities), min_length=30)
    with pytest.raises(ValidationError):
        rotation_of(provider, target).rotate(KEY, "short")
    assert not target.calls
    assert not leftovers(memory)
    assert memory.get_secret(KEY) == OLD


def test_what_the_backend_refuses_to_stage_is_not_in_flight():
    class Picky(MemorySecretProvider):
        def stage_secret(self, key, value):
            raise ValidationError("not this one", key=key)

    picky = Picky(secrets={KEY: OLD})
    with pytest.raises(ValidationError):
        SecretRotation(picky).rotate(KEY, NEW)
    assert not leftovers(picky)


def test_a_secret_that_is_read_only_is_not_rotated(abilities):
    memory, target = memory_with(), Target()
    with pytest.raises(ReadOnlyError):
        rotation_of(ReadOnlyMiddleware(backend(memory, abilities)), target).rotate(KEY)
    assert not target.calls


def test_denied_is_denied(plain):
    class Denying(plain):
        def set_secret(self, key, value):
            raise PermissionError("no")

    with pytest.raises(PermissionDeniedError), pytest.warns(UserWarning, match="no lock"):
        SecretRotation(Denying({KEY: OLD})).rotate(KEY)


@pytest.mark.parametrize("step", ["apply", "verify"])
@pytest.mark.parametrize("again", ["rotate", "resume"])
def test_what_a_step_says_shows_no_value_that_it_was_not_given(abilities, step, again):
    """`verify` gets the new value alone, and its message may quote the one that still works."""

    first, second = "hunter2-hunter2", "swordfish-swordfish"

    def telling(*_):
        raise ConnectionError(f"{first} works, {second} does not")

    memory, lock = MemorySecretProvider(secrets={KEY: first}), MemoryCacheStore()
    rotation = SecretRotation(backend(memory, abilities), lock=lock, **{step: telling})
    with pytest.raises(RotationError) as caught:
        rotation.rotate(KEY, second)
    if again == "resume":  # a process that has read nothing yet
        rotation = SecretRotation(backend(memory, abilities), lock=lock, **{step: telling})
        with pytest.raises(RotationError) as caught:
            rotation.resume(KEY)
    (status,) = rotation.status()
    for text in (str(caught.value), status.last_error, "".join(traceback.format_exception(caught.value))):
        assert first not in text
        assert second not in text
        assert "works" in text


def test_what_a_step_says_is_kept_back_where_its_values_cannot_be_read():
    """Nothing could be looked for in it."""

    class Failing(MemorySecretProvider):
        down = False

        def get_secret_version(self, key, version):
            if self.down:
                raise BackendUnavailableError("it is down")
            return super().get_secret_version(key, version)

    memory = Failing(secrets={KEY: OLD})

    def verify(_key, _new):
        memory.down = True
        raise ConnectionError(f"{OLD} works")

    with pytest.raises(RotationError, match="not live"):
        SecretRotation(memory, verify=lambda *_: failing_with("not live")).rotate(KEY, NEW)
    with pytest.raises(RotationError) as caught:
        SecretRotation(memory, verify=verify).resume(KEY)
    assert "verify failed: ConnectionError;" in str(caught.value)
