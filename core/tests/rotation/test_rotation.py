"""One rotation: forward, beside others, and back within the grace."""

from __future__ import annotations

import json
import secrets
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from rotation_support import (
    BACKENDS,
    KEY,
    NEW,
    OLD,
    Clock,
    Target,
    backend,
    failing,
    leftovers,
    memory_with,
    rotation_of,
    states,
)
from strongroom import RetryMiddleware, SecretProviderRegistry, SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    RotationError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.keys import record_key
from strongroom_memory import MemorySecretProvider


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


def from_its_answer(text):
    error = ConfigurationError("the service answers otherwise")
    error.__cause__ = ValueError(f"unexpected: {text}")
    return error


def with_a_note(text):
    error = ConfigurationError("the service answers otherwise")
    error.add_note(text)
    return error


@pytest.mark.parametrize("fails", [ValueError, ConfigurationError, from_its_answer, with_a_note])
@pytest.mark.parametrize("composes", [True, False])
def test_an_error_shows_no_value_that_was_made_before_it(fails, composes):
    """A generator may have made a credential at a server when its answer is not what was expected."""
    made = secrets.token_hex()

    def refuse(*_):
        answer = made[:]
        raise fails(answer)

    rotator = SimpleNamespace(apply=print, verify=print, compose=refuse)
    options = {"rotator": rotator} if composes else {"generator": refuse}
    with pytest.raises(RotationError, match=r"did not begin: .* failed: \w+, raised at ") as caught:
        SecretRotation(memory_with(), **options).rotate(KEY)
    assert made not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))


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


def test_strangers_are_rotated_too(plain):
    provider = plain({KEY: OLD})
    rotation = SecretRotation(provider, verify=failing, lock=MemoryCacheStore())
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    assert [one.key for one in rotation.status()] == [KEY]
    SecretRotation(provider, lock=MemoryCacheStore()).resume(KEY)
    assert provider.secrets == {KEY: NEW}
