"""One rotation in one process: its steps, its failures, and the way back."""

from __future__ import annotations

import dataclasses
import json
import logging
import traceback
import warnings
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from itertools import permutations
from pathlib import Path

import pytest
from rotation_support import (
    BACKENDS,
    KEY,
    NAMED,
    NEW,
    OLD,
    Clock,
    Target,
    backend,
    leftovers,
    memory_with,
    states,
)
from sampling import sample
from strongroom import (
    CachingMiddleware,
    EncryptionMiddleware,
    FernetEncryption,
    PrefixMiddleware,
    ReadOnlyMiddleware,
    RetryMiddleware,
    SecretHook,
    SecretProviderRegistry,
    SecretRotation,
    TenantContext,
    TenantSecretProvider,
    ValidationMiddleware,
)
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    AuditError,
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    PermissionDeniedError,
    ReadOnlyError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    TenantContextError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.keys import record_key
from strongroom.middleware.prefix import StripPrefixMiddleware
from strongroom.providers import guard
from strongroom.rotation.ledger import Record
from strongroom_memory import MemorySecretProvider


def rotation_of(provider, target=None, **options):
    target = target or Target()
    return SecretRotation(
        provider, apply=target.apply, verify=target.verify, lock=MemoryCacheStore(), **options
    )


# --- the way forward ---


def test_readers_get_the_old_value_until_it_is_verified(abilities):
    memory = memory_with()
    seen = []

    def apply(key, old, new):
        seen.append(("apply", key, old, new, memory.get_secret(key)))

    def verify(key, new):
        seen.append(("verify", key, new, memory.get_secret(key)))

    rotation = SecretRotation(backend(memory, abilities), apply=apply, verify=verify, lock=MemoryCacheStore())
    result = rotation.rotate(KEY, NEW)
    assert seen == [("apply", KEY, OLD, NEW, OLD), ("verify", KEY, NEW, OLD)]
    assert (result.key, result.state) == (KEY, "current")
    assert result.rotated_at.tzinfo is not None
    assert memory.get_secret(KEY) == NEW
    assert states(memory) == ["current", "previous"]
    assert not leftovers(memory)
    if "describe_secret" in abilities:
        assert result.new_version == memory.describe_secret(KEY).version
        assert memory.get_secret_version(KEY, result.old_version) == OLD
    else:
        assert (result.old_version, result.new_version) == (None, None)


def test_without_callbacks_the_value_is_replaced(abilities):
    memory = memory_with()
    result = SecretRotation(backend(memory, abilities), lock=MemoryCacheStore()).rotate(KEY)
    assert result.state == "current"
    assert len(memory.get_secret(KEY)) == 32
    assert not leftovers(memory)


def test_the_generator_gets_the_key_and_the_old_value():
    memory = memory_with()
    SecretRotation(memory, generator=lambda key, old: f"{key}+{old}").rotate(KEY)
    assert memory.get_secret(KEY) == f"{KEY}+{OLD}"


def test_a_value_that_is_no_text_is_refused_and_nothing_begins():
    memory = memory_with()
    with pytest.raises(TypeError):
        SecretRotation(memory, generator=lambda key, old: 5).rotate(KEY)
    assert not leftovers(memory)


@pytest.mark.parametrize(
    "generator",
    [
        lambda _key, old: str(int(old) + 1),
        lambda _key, old: {}[old],
        lambda _key, old: json.loads(old)["password"],
        lambda _key, old: Path(old).read_text(),
        lambda _key, old: memory_with().get_secret(old),
    ],
)
def test_an_error_of_a_generator_holds_no_value_and_nothing_begins(generator):
    memory = memory_with()
    with pytest.raises(RotationError, match="generator failed") as caught:
        SecretRotation(memory, generator=generator).rotate(KEY)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert OLD not in shown
    assert memory.get_secret(KEY) == OLD
    assert not leftovers(memory)


def test_an_error_of_ours_that_a_generator_raises_is_raised_as_it_is():
    def refuse(_key, _old):
        raise ConfigurationError("the generator is not set up")

    with pytest.raises(ConfigurationError, match="not set up"):
        SecretRotation(memory_with(), generator=refuse).rotate(KEY)


def test_a_registry_within_is_named_as_what_keeps_no_state():
    with SecretProviderRegistry(
        {"version": 1, "pipelines": {"m": {"provider": {"type": "memory"}}}}
    ) as registry:
        rotation = SecretRotation(RetryMiddleware(registry))
        registry.set_secret(KEY, OLD)
        with pytest.raises(InvalidKeyError, match="cannot keep its state") as refused:
            rotation.rotate(KEY)
        assert refused.value.key == KEY
        assert "SecretRotation(registry)" in refused.value.hint
        assert registry.get_secret(KEY) == OLD
        assert SecretRotation(registry).rotate(KEY).state == "current"


def test_what_is_not_there_is_not_rotated(abilities):
    rotation = rotation_of(backend(memory_with(), abilities))
    with pytest.raises(SecretNotFoundError):
        rotation.rotate("other")
    with pytest.raises(InvalidKeyError):
        rotation.rotate("a//b")
    with pytest.raises(InvalidKeyError):
        rotation.rotate(record_key(KEY))


# --- failures ---


def failing(*_):
    raise ConnectionError("the database is down")


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


# --- others at the same time ---


def test_a_pending_version_of_another_tool_is_in_flight_and_can_be_resumed():
    memory = memory_with()
    staged = memory.stage_secret(KEY, NEW)
    rotation = SecretRotation(memory)
    assert [one.state for one in rotation.status()] == ["pending"]
    with pytest.raises(ConflictError):
        rotation.rotate(KEY)
    result = rotation.resume(KEY)
    assert (result.state, result.new_version) == ("current", staged)
    assert memory.get_secret(KEY) == NEW
    assert not leftovers(memory)


def test_a_pending_version_of_another_tool_can_be_rolled_back():
    memory = memory_with()
    memory.stage_secret(KEY, NEW)
    assert SecretRotation(memory).rollback(KEY).state == "rolled_back"
    assert not leftovers(memory)
    assert memory.get_secret(KEY) == OLD


def test_two_that_resume_at_once_do_not_both_promote():
    memory, target = memory_with(), Target()
    with pytest.raises(RotationError):
        SecretRotation(memory, apply=target.apply, verify=failing).rotate(KEY, NEW)

    def overtaken(key, new):
        rotation_of(memory, target).resume(key)

    with pytest.raises(ConflictError):
        SecretRotation(memory, verify=overtaken).resume(KEY)
    assert memory.get_secret(KEY) == NEW
    assert not leftovers(memory)


def test_a_rotation_that_is_undone_meanwhile_does_not_promote(abilities):
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)

    def undone(key, new):
        rotation_of(provider, target).rollback(key)

    with pytest.raises(ConflictError):
        SecretRotation(provider, apply=target.apply, verify=undone, lock=MemoryCacheStore()).rotate(KEY, NEW)
    assert memory.get_secret(KEY) == OLD == target.password
    assert not leftovers(memory)


def test_a_whole_rotation_while_one_begins_is_noticed(abilities):
    memory, target = memory_with(), Target()
    provider = backend(memory, abilities)

    def overtaken(key, old):
        rotation_of(provider, target).rotate(key, "of the other")
        return NEW

    with pytest.raises(ConflictError, match="changed as its rotation began"):
        rotation_of(provider, target, generator=overtaken).rotate(KEY)
    assert memory.get_secret(KEY) == "of the other" == target.password
    assert not leftovers(memory)


def test_a_backend_without_conditions_warns_where_there_is_no_lock():
    abilities = BACKENDS["nothing"]
    with pytest.warns(UserWarning, match="only one process may rotate"):
        SecretRotation(backend(memory_with(), abilities)).rotate(KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SecretRotation(backend(memory_with(), abilities), lock=MemoryCacheStore()).rotate(KEY)
        SecretRotation(memory_with()).rotate(KEY)


def test_an_ability_that_the_server_lacks_after_all_is_done_without():
    """KV version 1 of Vault has the methods and not the ability."""

    class Version1(MemorySecretProvider):
        def _no(self, key, *_args, **_options):
            raise UnsupportedOperationError("not on this server", key=key)

        describe_secret = list_versions = get_secret_version = set_secret_if = _no
        stage_secret = promote_version = discard_version = _no

    provider = Version1(secrets={KEY: OLD})
    rotation = rotation_of(provider, grace_seconds=60)
    assert rotation.rotate(KEY, NEW).new_version is None
    assert provider.get_secret(KEY) == NEW
    assert rotation.rollback(KEY).state == "rolled_back"
    assert provider.get_secret(KEY) == OLD


# --- grace ---


def test_within_the_grace_the_value_before_is_put_back_as_a_new_version(abilities):
    clock, memory, target = Clock(), memory_with(), Target()
    rotation = rotation_of(backend(memory, abilities), target, grace_seconds=60, clock=clock)
    first = rotation.rotate(KEY, NEW)
    if first.old_version is not None and "list_versions" in abilities:
        assert backend(memory, abilities).get_secret_version(KEY, first.old_version) == OLD
    clock.pass_by(seconds=60)
    result = rotation.rollback(KEY)
    assert (result.key, result.state) == (KEY, "rolled_back")
    assert memory.get_secret(KEY) == OLD == target.password
    assert states(memory) == ["current", "previous", "previous"]
    assert not leftovers(memory)
    assert result.old_version == first.new_version
    with pytest.raises(RotationError):
        rotation.rollback(KEY)


@pytest.mark.parametrize("options", [{"grace_seconds": 1e12}, {"grace_seconds": 60, "attempt_seconds": 1e12}])
def test_a_time_beyond_all_dates_has_no_end(abilities, options):
    memory = memory_with()
    rotation = rotation_of(backend(memory, abilities), **options)
    assert rotation.rotate(KEY, NEW).state == "current"
    assert rotation.rollback(KEY).state == "rolled_back"
    assert memory.get_secret(KEY) == OLD


def test_a_new_value_that_is_the_old_one_begins_its_age_anew(abilities):
    """Else it stays due for ever, although every rotation of it says that it went well."""
    if "describe_secret" not in abilities:
        return
    clock = Clock()
    memory = memory_with(clock=clock)
    rotation = rotation_of(backend(memory, abilities), generator=lambda _key, old: old, clock=clock)
    clock.pass_by(days=31)
    assert rotation.rotate_due()[0].state == "current"
    assert not rotation.needs_rotation(KEY)
    assert memory.get_secret(KEY) == OLD


def test_after_the_grace_nothing_is_put_back(abilities):
    clock, memory = Clock(), memory_with()
    rotation = rotation_of(backend(memory, abilities), grace_seconds=60, clock=clock)
    rotation.rotate(KEY, NEW)
    clock.pass_by(seconds=61)
    with pytest.raises(RotationError):
        rotation.rollback(KEY)
    assert memory.get_secret(KEY) == NEW


def test_within_the_grace_it_can_be_rotated_again(abilities):
    memory = memory_with()
    rotation = rotation_of(backend(memory, abilities), grace_seconds=60)
    rotation.rotate(KEY, "second")
    rotation.rotate(KEY, "third")
    rotation.rollback(KEY)
    assert memory.get_secret(KEY) == "second"


def test_a_secret_that_was_changed_since_is_not_put_back(abilities):
    memory = memory_with()
    rotation = rotation_of(backend(memory, abilities), grace_seconds=60)
    rotation.rotate(KEY, NEW)
    memory.set_secret(KEY, "theirs")
    with pytest.raises(RotationError, match="changed after its rotation"):
        rotation.rollback(KEY)
    assert memory.get_secret(KEY) == "theirs"


def test_a_value_before_that_is_gone_is_told():
    memory = memory_with(max_versions=1)
    rotation = SecretRotation(memory, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    with pytest.raises(RotationError, match="no longer there") as caught:
        rotation.rollback(KEY)
    assert "keeps two versions" in caught.value.hint


def test_putting_back_that_fails_is_in_flight_and_resumed_as_a_rollback(abilities):
    memory, target, lock = memory_with(), Target(), MemoryCacheStore()
    provider = backend(memory, abilities)
    options = {"grace_seconds": 60, "lock": lock}
    SecretRotation(provider, apply=target.apply, **options).rotate(KEY, NEW)
    with pytest.raises(RotationError):
        SecretRotation(provider, apply=failing, **options).rollback(KEY)
    assert memory.get_secret(KEY) == NEW
    assert SecretRotation(provider, apply=target.apply, **options).resume(KEY).state == "rolled_back"
    assert memory.get_secret(KEY) == OLD == target.password


# --- when ---


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


@pytest.mark.parametrize(
    "options",
    [
        {"grace_seconds": -1},
        {"grace_seconds": float("inf")},
        {"grace_seconds": float("nan")},
        {"jitter": 2},
        {"rotation_interval_days": -1},
        {"rotation_interval_days": float("inf")},
        {"rotation_interval_days": float("nan")},
    ],
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigurationError):
        SecretRotation(memory_with(), **options)


def test_what_is_no_provider_is_refused():
    with pytest.raises(TypeError):
        SecretRotation(object())


# --- through pipelines ---

CHAINS = {
    "caching": CachingMiddleware,
    "encryption": lambda inner: EncryptionMiddleware(inner, FernetEncryption("a passphrase of some length")),
    "prefix": lambda inner: PrefixMiddleware(inner, "app/"),
    "retry": RetryMiddleware,
    "tenant": TenantSecretProvider,
    "validation": lambda inner: ValidationMiddleware(inner, key_pattern="[a-z/]+", max_length=100),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_rotation_goes_through_each_middleware(abilities, name):
    memory = MemorySecretProvider()
    provider = CHAINS[name](backend(memory, abilities))
    with TenantContext("acme") if name == "tenant" else nullcontext():
        provider.set_secret(KEY, OLD)
        assert provider.get_secret(KEY) == OLD
        target, lock = Target(), MemoryCacheStore()
        rotation = SecretRotation(provider, apply=target.apply, verify=failing, lock=lock, grace_seconds=5)
        with pytest.raises(RotationError):
            rotation.rotate(KEY, NEW)
        assert provider.get_secret(KEY) == OLD
        rotation = SecretRotation(provider, apply=target.apply, lock=lock, grace_seconds=5)
        rotation.resume(KEY)
        assert provider.get_secret(KEY) == NEW == target.password
        rotation.rollback(KEY)
        assert provider.get_secret(KEY) == OLD == target.password


@pytest.mark.parametrize("abilities", sample(NAMED, one_in=2))
def test_all_of_a_rotation_is_encrypted(abilities):
    memory = MemorySecretProvider()
    provider = CHAINS["encryption"](backend(memory, abilities))
    provider.set_secret(KEY, OLD)
    with pytest.raises(RotationError):
        SecretRotation(provider, verify=failing, lock=MemoryCacheStore()).rotate(KEY, NEW)
    everything = repr({key: record.versions for key, record in memory._records.items()})
    texts = [v.value for record in memory._records.values() for v in record.versions.values()]
    assert len(texts) >= 2
    assert not any(OLD in text or NEW in text for text in [everything, *texts])


def test_tenants_do_not_meet_in_a_rotation():
    memory = MemorySecretProvider()
    provider = TenantSecretProvider(memory)
    for tenant in ("one", "two"):
        with TenantContext(tenant):
            provider.set_secret(KEY, f"of {tenant}")
    rotation = SecretRotation(provider, verify=failing)
    with TenantContext("one"), pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    with TenantContext("two"):
        assert SecretRotation(provider).rotate(KEY, "newer of two").state == "current"
        assert provider.get_secret(KEY) == "newer of two"
    with TenantContext("one"):
        assert provider.get_secret(KEY) == "of one"
    with pytest.raises(TenantContextError):
        rotation.rotate(KEY)


class Recording(SecretHook):
    def __init__(self):
        self.before_events, self.events = [], []

    def before(self, event):
        self.before_events.append(event)

    def after(self, event):
        self.events.append(event)


def registry_of(**pipeline):
    spec = {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {"type": "memory", "secrets": {KEY: OLD}},
                "middleware": [{"type": "caching"}],
                **pipeline,
            },
            "other": {"provider": {"type": "memory", "secrets": {"password": OLD}}},
        },
        "default": "app",
        "routes": [{"prefix": "other/", "pipeline": "other", "strip_prefix": True}],
    }
    return SecretProviderRegistry(spec)


def test_a_registrys_hooks_see_one_rotation_and_its_caches_drop_the_key():
    hook, events = Recording(), []
    with registry_of() as registry:
        assert registry.get_secret(KEY) == OLD
        registry.add_hook(hook)
        SecretRotation(registry, on_event=events.append).rotate(KEY, NEW)
        assert [(one.operation, one.key, one.outcome, one.pipeline) for one in hook.events] == [
            ("rotate", KEY, "ok", "app")
        ]
        assert registry.get_secret(KEY) == NEW
    (event,) = events
    assert (event.operation, event.key, event.outcome, event.pipeline) == ("rotate", KEY, "ok", "app")


def test_a_stripped_route_is_rotated_under_its_whole_name():
    with registry_of() as registry:
        assert SecretRotation(registry).rotate("other/password", NEW).key == "other/password"
        assert registry.get_secret("other/password") == NEW
        assert registry.pipeline("other").get_secret("password") == NEW


def test_a_hook_can_veto_a_rotation():
    class Veto(SecretHook):
        def before(self, event):
            if event.operation == "rotate":
                raise AuditError("no")

    with registry_of() as registry:
        registry.add_hook(Veto())
        with pytest.raises(AuditError):
            SecretRotation(registry).rotate(KEY, NEW)
        assert registry.get_secret(KEY) == OLD


def test_hooks_see_that_a_record_is_forgotten_and_can_veto_it():
    """It may be the only place of a value that the target system has."""

    class Veto(Recording):
        def before(self, event):
            if event.operation == "rotate":
                raise AuditError("no")

    hook, events = Recording(), []
    with registry_of() as registry:
        rotation = SecretRotation(registry, apply=failing, on_event=events.append)
        with pytest.raises(RotationError):
            rotation.rotate(KEY)
        del events[:]
        veto = Veto()
        registry.add_hook(veto)
        with pytest.raises(AuditError):
            rotation.forget(KEY)
        assert rotation.status_of(KEY).last_error is not None
        veto.before = hook.before
        registry.add_hook(hook)
        rotation.forget(KEY)
        assert rotation.status_of(KEY).last_error is None
    assert ("rotate", KEY, "ok") in [(one.operation, one.key, one.outcome) for one in hook.events]
    assert events == []  # no rotation has ended


def test_failures_are_told_to_hooks_and_on_event():
    hook, events = Recording(), []
    with registry_of() as registry:
        registry.add_hook(hook)
        rotation = SecretRotation(registry, apply=failing, on_event=events.append)
        with pytest.raises(RotationError):
            rotation.rotate(KEY)
        with pytest.raises(ConflictError):
            rotation.rotate(KEY)
    for seen in (hook.events, events):
        assert [(one.outcome, one.error_type) for one in seen] == [
            ("error", "RotationError"),
            ("error", "ConflictError"),
        ]


def test_a_veto_is_told_to_on_event_as_one():
    class Vetoes(SecretHook):
        def before(self, event):
            raise PermissionError(event.key)

    events = []
    with registry_of() as registry:
        registry.add_hook(Vetoes())
        with pytest.raises(PermissionError):
            SecretRotation(registry, on_event=events.append).rotate(KEY)
    assert [(one.outcome, one.error_type) for one in events] == [("vetoed", "PermissionError")]


def test_errors_of_rotations_name_the_pipeline():
    """Also those of calls that are not operations themselves, and of a backend without dates."""
    spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "env"}}}}
    with registry_of() as registry, SecretProviderRegistry(spec) as dateless:
        dateless.set_secret(KEY, OLD)
        for call in (
            lambda: SecretRotation(registry).status_of("none"),
            lambda: SecretRotation(registry).needs_rotation("none"),
            lambda: SecretRotation(dateless).needs_rotation(KEY),
        ):
            with pytest.raises(StrongroomError) as caught:
                call()
            assert caught.value.pipeline == "app"
        dateless.delete_secret(KEY)


def test_what_on_event_raises_does_not_hide_the_result(caplog):
    rotation = SecretRotation(memory_with(), on_event=failing)
    assert rotation.rotate(KEY).state == "current"
    assert "on_event failed after a rotation: ConnectionError" in caplog.text


def test_the_new_value_is_masked_as_what_was_read():
    seen = []
    with registry_of() as registry:
        registry.observe_values(seen.append)
        SecretRotation(registry).rotate(KEY, NEW)
    assert {OLD, NEW} <= set(seen)


@pytest.mark.parametrize(
    "outside",
    [{"type": "retry"}, {"type": "prefix", "prefix": "p/"}, {"type": "encryption", "key": "a passphrase"}],
    ids=lambda options: options["type"],
)
@pytest.mark.parametrize("inside", [{"type": "caching"}, {"type": "validation", "key_pattern": ".*"}])
def test_what_stands_outside_caching_or_validation_is_no_hindrance(outside, inside):
    spec = {
        "version": 1,
        "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [outside, inside]}},
        "routes": [{"prefix": "app/", "pipeline": "app", "strip_prefix": True}],
    }
    key = f"app/{KEY}"
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret(key, OLD)
        assert registry.get_secret(key) == OLD
        with pytest.raises(RotationError):
            SecretRotation(registry, verify=failing).rotate(key, NEW)
        assert registry.get_secret(key) == OLD
        SecretRotation(registry).resume(key)
        assert registry.get_secret(key) == NEW
        assert registry.list_secrets("app/") == [key]


def test_a_cache_inside_of_a_third_partys_middleware_answers_for_nothing():
    """Otherwise the target would be told an old value that is not current any more."""

    class Plain:
        def __init__(self, inner):
            self.get_secret, self.set_secret = inner.get_secret, inner.set_secret
            self.delete_secret, self.list_secrets = inner.delete_secret, inner.list_secrets

    memory, told = MemorySecretProvider(secrets={KEY: "older"}), []
    cached = CachingMiddleware(memory)
    with SecretProviderRegistry({"version": 1, "pipelines": {}}) as registry:
        registry.register("app", guard(Plain(cached), around=cached), prefix="")
        assert registry.get_secret(KEY) == "older"
        memory.set_secret(KEY, OLD)
        rotation = SecretRotation(
            registry, apply=lambda _, old, new: told.append((old, new)), lock=MemoryCacheStore()
        )
        rotation.rotate(KEY, NEW)
        assert (told, registry.get_secret(KEY)) == ([(OLD, NEW)], NEW)


def test_a_fallback_rotates_the_first_only():
    spec = {
        "version": 1,
        "pipelines": {
            "one": {"provider": {"type": "memory", "secrets": {KEY: OLD}}},
            "two": {"provider": {"type": "memory", "secrets": {KEY: "of two", "only": "of two"}}},
            "both": {"fallback": {"pipelines": ["one", "two"], "when": ["not_found"]}},
        },
        "default": "both",
    }
    with SecretProviderRegistry(spec) as registry:
        rotation = SecretRotation(registry)
        rotation.rotate(KEY, NEW)
        assert registry.pipeline("one").get_secret(KEY) == NEW
        assert registry.pipeline("two").get_secret(KEY) == "of two"
        with pytest.raises(SecretNotFoundError):
            rotation.rotate("only")


def with_time(**member):
    return json.dumps({"format": 1, "key": KEY, "state": "current", **member})


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[" * 100_000,
        with_time(until="soon"),
        with_time(retry_at=1),
        with_time(held_until="2100-01-01T00:00:00"),
        with_time(stale=[["value", "never"]]),
    ],
    ids=["empty", "nested", "no time", "a number", "a time without a zone", "a value's time"],
)
def test_a_record_that_cannot_be_understood_is_told_and_left_alone(text):
    memory = memory_with()
    memory.set_secret(record_key(KEY), text)
    rotation = SecretRotation(memory)
    for method in (rotation.rotate, rotation.resume, rotation.rollback):
        with pytest.raises(RotationError, match="cannot be understood"):
            method(KEY)
    assert memory.get_secret(record_key(KEY)) == text


TIMES = ("retry_at", "rotated_at", "until", "held_until")
FITTING = {
    **dict.fromkeys(("failures", "late"), 5),
    **dict.fromkeys(("begun", "abandoned", "undoes"), True),
    **dict.fromkeys(("key", "state", *TIMES)),
    "stale": [],
}
DAMAGED = [
    (member, value)
    for member in Record.__slots__
    for value in (5, [], True, "what")
    if repr(value) != repr(FITTING.get(member, "what"))
]


@pytest.mark.parametrize(("member", "value"), DAMAGED)
def test_a_damaged_member_of_a_record_is_told_as_that_and_stops_no_other_key(member, value):
    """It ended in an error of Python's own, also for all keys after it, and for `forget`."""
    memory = memory_with()
    memory.set_secret("z", OLD)
    good = dataclasses.asdict(
        Record(KEY, state="pending", attempt="m/1/2/3", step="apply", id="1", begun=True)
    )
    times = dict.fromkeys(TIMES, "2000-01-01T00:00:00+00:00")
    record = {"format": 1, **good, **times, "mark": "a$b", member: value}
    memory.set_secret(record_key(KEY), json.dumps(record))
    rotation = SecretRotation(memory, 0, apply=lambda *_: None)
    assert {one.key: one.state for one in rotation.status()} == {KEY: "unknown", "z": "current"}
    with pytest.raises(RotationError, match="cannot be understood"):
        rotation.rotate_due()
    assert memory.get_secret("z") != OLD
    rotation.forget(KEY)
    assert rotation.rotate(KEY).state == "current"


def known_as(name, memory):
    """Return a provider of the secret that `memory` stores as `team/password`: its name there is `name`."""
    if name == "team/password":
        return memory
    inner = PrefixMiddleware(memory, "team/")
    return StripPrefixMiddleware(inner, "dev/") if name == "dev/password" else inner


@pytest.mark.parametrize("end", ["resume", "rollback", "rotate"])
@pytest.mark.parametrize(
    ("one", "another"), list(permutations(["password", "dev/password", "team/password"], 2))
)
def test_a_rotation_goes_on_under_another_name_of_the_secret(end, one, another):
    """Routes with `strip_prefix`, prefixes and tenants give one stored secret several names."""
    memory, target = memory_with(key="team/password"), Target()
    options = {"apply": target.apply, "grace_seconds": 60}
    with pytest.raises(RotationError):
        SecretRotation(known_as(one, memory), verify=failing, **options).rotate(one, NEW)
    rotation = SecretRotation(known_as(another, memory), verify=target.verify, **options)
    assert [(status.key, status.state) for status in rotation.status()] == [(another, "applied")]
    with pytest.raises(ConflictError):
        rotation.rotate(another, NEW)
    assert getattr(rotation, "resume" if end == "rotate" else end)(another).key == another
    assert memory.get_secret("team/password") == target.password == (OLD if end == "rollback" else NEW)
    if end == "rotate":  # within the grace of the one before
        SecretRotation(known_as(one, memory), **options).rotate(one, "another-new-value")
        assert rotation.rollback(another).state == "rolled_back"
        assert memory.get_secret("team/password") == target.password == NEW


class NotedLock(MemoryCacheStore):
    """Notes which locks are asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def lock(self, name, **options):
        self.names.add(name)
        return super().lock(name, **options)


def test_a_lock_is_of_the_stored_secret_whoever_asks_for_it_by_what_name():
    """Else two processes that have other names for it, or other tenants active, would both rotate it."""
    plain, lock = backend(memory_with(key="team/password"), BACKENDS["nothing"]), NotedLock()
    for name in ("password", "dev/password", "team/password"):
        for tenant in (nullcontext(), TenantContext("acme")):
            with tenant:
                SecretRotation(known_as(name, plain), lock=lock).rotate(name)
    assert len(lock.names) == 1
    apart = TenantSecretProvider(plain)
    for tenant in ("acme", "other"):
        with TenantContext(tenant):
            apart.set_secret("password", OLD)
            SecretRotation(apart, lock=lock).rotate("password")
    assert len(lock.names) == 3


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (datetime(2026, 1, 1), "the time of clock has no zone"),  # noqa: DTZ001  # which is refused
        (1767225600.0, "clock gives a float, and not a datetime"),  # as `time.time` does
    ],
)
def test_a_clock_without_aware_times_is_refused_before_anything_changes(now, why):
    """Nobody could read the record of such a rotation, which then could not be resumed or rolled back."""
    memory, target = memory_with(), Target()
    rotation = SecretRotation(memory, apply=target.apply, grace_seconds=60, clock=lambda: now)
    with pytest.raises(ConfigurationError, match=why):
        rotation.rotate(KEY, NEW)
    assert (memory.get_secret(KEY), target.password, leftovers(memory)) == (OLD, OLD, [])


class FailingLock(MemoryCacheStore):
    """A third party's store, whose client raises an error of its own at one of the locks, or at its end."""

    def __init__(self, at, *, at_its_end=False):
        super().__init__()
        self.left, self.at_its_end = at, at_its_end

    @contextmanager
    def lock(self, name, **options):
        self.left -= 1
        fails = self.left == 0
        if fails and not self.at_its_end:
            raise OSError("connection lost")
        with super().lock(name, **options) as token:
            yield token
        if fails:
            raise OSError("connection lost")


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_lock_that_cannot_be_released_does_not_stop_a_rotation(at, caplog):
    """What it was held for is done, and it ends by itself."""
    target, lock = Target(), FailingLock(at, at_its_end=True)
    provider = backend(memory_with(), BACKENDS["nothing"])
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=lock)
    assert rotation.rotate(KEY, NEW).state == "current"
    assert provider.get_secret(KEY) == target.password == NEW
    assert f"the lock for the rotation of {KEY!r} could not be released: OSError" in caplog.text


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_lock_that_fails_by_an_error_of_its_own_is_an_outage(at):
    """It names the secret, and the rotation that is in flight by then."""
    target = Target()
    provider = backend(memory_with(), BACKENDS["nothing"])
    rotation = SecretRotation(provider, apply=target.apply, verify=target.verify, lock=FailingLock(at))
    with pytest.raises(
        BackendUnavailableError, match=r"lock for the rotation of .* failed with OSError"
    ) as failed:
        rotation.rotate(KEY, NEW)
    assert failed.value.key == KEY
    assert ("resume" in str(failed.value)) == (at > 1)
    if at > 1:
        assert rotation.resume(KEY).state == "current"
        assert provider.get_secret(KEY) == target.password == NEW


def test_records_have_valid_names_for_any_key():
    from strongroom.keys import check_key, is_reserved

    keys = ["a", "a/b", "x" * 512, "/".join("y" * 9 for _ in range(51)), "é" * 500 + "/z", "a/" + "b" * 510]
    names = {record_key(key) for key in keys}
    assert len(names) == len(keys)
    for name in names:
        assert is_reserved(check_key(name))
        assert len(name) <= 400


def test_strangers_are_rotated_too(plain):
    provider = plain({KEY: OLD})
    rotation = SecretRotation(provider, verify=failing, lock=MemoryCacheStore())
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    assert [one.key for one in rotation.status()] == [KEY]
    SecretRotation(provider, lock=MemoryCacheStore()).resume(KEY)
    assert provider.secrets == {KEY: NEW}
