"""Rotators: values that are good at once, what a rotator is asked, and rehearsals."""

from __future__ import annotations

from contextlib import contextmanager, suppress

import pytest
from rotation_support import KEY, NAMED, NEW, OLD, Clock, Killed, Mortal, backend, leftovers, memory_with
from sampling import crossed
from strongroom import SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    ConfigurationError,
    RotationError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValidationError,
)
from strongroom.rotation import current_step
from strongroom.rotation.http import HttpRotator
from strongroom.rotation.rotators import DeferredRotator


class Passwords:
    """A target system that takes several passwords, and its rotator."""

    def __init__(self, *first):
        self.good = set(first or [OLD])
        self.steps = []
        self.broken = ()

    def _step(self, name):
        self.steps.append((name, current_step()))
        if name in self.broken:
            raise RuntimeError(f"cannot {name}")

    def apply(self, key, old, new):
        self._step("apply")
        self.good.add(new)

    def verify(self, key, new):
        self._step("verify")
        return new in self.good

    def retire(self, key, stale, current):
        self._step("retire")
        assert current in self.good
        self.good.discard(stale)

    @contextmanager
    def rehearsal(self, key, old):
        made = Passwords("throwaway")
        yield made, "throwaway"
        self.rehearsed = made


def rotation_with(provider, rotator, clock=None, **options):
    return SecretRotation(
        provider, rotator=rotator, lock=MemoryCacheStore(), clock=clock or Clock(), **options
    )


def test_without_grace_the_old_value_is_taken_away_as_the_rotation_ends(abilities):
    memory, rotator = memory_with(), Passwords()
    assert rotation_with(backend(memory, abilities), rotator).rotate(KEY, NEW).state == "current"
    assert rotator.good == {NEW}
    assert leftovers(memory) == []


@pytest.mark.parametrize("way", ["rotate", "rotate_if_due", "status_of"])
def test_the_first_look_after_the_grace_takes_the_old_value_away(abilities, way):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    if "describe_secret" in abilities or way != "rotate_if_due":
        getattr(rotation, "status_of" if way == "rotate" else way)(KEY)
    assert rotator.good == {OLD, NEW}
    clock.pass_by(seconds=61)
    with suppress(UnsupportedOperationError):  # a backend that does not say how old a secret is
        getattr(rotation, way)(KEY, *(["the third value"] if way == "rotate" else []))
    assert OLD not in rotator.good
    assert NEW in rotator.good
    if way != "rotate":
        assert leftovers(memory) == []


def test_a_rotation_within_the_grace_leaves_each_value_its_own_time(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    clock.pass_by(seconds=40)
    rotation.rotate(KEY, "third")
    assert rotator.good == {OLD, NEW, "third"}
    clock.pass_by(seconds=40)
    rotation.status_of(KEY)
    assert rotator.good == {NEW, "third"}
    assert rotation.rollback(KEY).state == "rolled_back"
    assert memory.get_secret(KEY) == NEW
    assert rotator.good == {NEW}


def test_of_many_values_within_one_grace_the_oldest_go_before_their_time():
    rotator = Passwords()
    rotation = rotation_with(memory_with(), rotator, grace_seconds=60)
    for number in range(20):
        rotation.rotate(KEY, f"value {number}")
    assert rotator.good == {f"value {number}" for number in range(10, 20)}


def test_a_value_that_comes_back_within_its_grace_is_not_taken_away(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    for value in (NEW, OLD, NEW, OLD):
        rotation.rotate(KEY, value)
    clock.pass_by(seconds=61)
    rotation.status_of(KEY)
    assert rotator.good == {OLD}


def test_a_rollback_in_flight_takes_the_new_value_away(abilities):
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("verify",)
    rotation = rotation_with(backend(memory, abilities), rotator, grace_seconds=60)
    with pytest.raises(RotationError, match="verify failed: RuntimeError: cannot verify"):
        rotation.rotate(KEY, NEW)
    rotator.broken = ()
    assert rotation.rollback(KEY).state == "rolled_back"
    assert rotator.good == {OLD}
    assert leftovers(memory) == []


def test_one_that_cannot_be_taken_away_is_in_flight_and_then_resumed(abilities):
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("retire",)
    rotation = rotation_with(backend(memory, abilities), rotator)
    with pytest.raises(RotationError, match="retire failed"):
        rotation.rotate(KEY, NEW)
    assert memory.get_secret(KEY) == NEW
    assert rotation.status_of(KEY).state == "verified"
    rotator.broken = ()
    assert rotation.resume(KEY).state == "current"
    assert rotator.good == {NEW}


def test_a_look_that_cannot_take_it_away_warns_and_the_next_one_does(abilities, caplog):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    rotation = rotation_with(backend(memory, abilities), rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    clock.pass_by(seconds=61)
    rotator.broken = ("retire",)
    assert rotation.status_of(KEY).state == "current"
    assert "an earlier value could not be revoked" in caplog.text
    assert OLD not in caplog.text
    rotator.broken = ()
    rotation.status_of(KEY)
    assert rotator.good == {NEW}


def test_a_rotation_mends_a_value_that_somebody_set_and_the_target_system_does_not_take(abilities, caplog):
    """No earlier value is taken away before; that must not keep the rotation from beginning."""
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    provider = backend(memory, abilities)
    rotation = rotation_with(provider, rotator, clock, grace_seconds=60)
    rotation.rotate(KEY, NEW)
    provider.set_secret(KEY, "set by hand")
    clock.pass_by(seconds=61)
    assert rotation.rotate(KEY, "third").state == "current"
    assert "an earlier value could not be revoked" in caplog.text
    assert OLD not in caplog.text
    assert "third" in rotator.good
    assert OLD not in rotator.good


def test_who_has_no_rotator_leaves_it_to_the_others(abilities):
    memory, rotator, clock = memory_with(), Passwords(), Clock()
    provider = backend(memory, abilities)
    rotation_with(provider, rotator, clock, grace_seconds=60).rotate(KEY, NEW)
    clock.pass_by(seconds=61)
    assert SecretRotation(provider, clock=clock, lock=MemoryCacheStore()).status_of(KEY).state == "current"
    rotation_with(provider, rotator, clock).status_of(KEY)
    assert rotator.good == {NEW}


@pytest.mark.parametrize(
    ("abilities", "grace", "way"),
    crossed(
        NAMED,
        [pytest.param(*one) for one in ((60, "rollback"), (0, "resume"), (60, "resume"), (0, "rollback"))],
    ),
)
def test_after_a_death_at_any_step_one_value_is_left(abilities, grace, way):
    for after in (False, True):
        for step in range(1, 200):
            memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
            provider = backend(memory, abilities, mortal)

            def rotation():
                return rotation_with(provider, rotator, clock, grace_seconds=grace)  # noqa: B023  # called within the round

            mortal.die_at(step, after=after)
            try:
                rotation().rotate(KEY, NEW)
            except Killed:
                pass
            else:
                break
            mortal.live_on()
            with suppress(RotationError):
                getattr(rotation(), way)(KEY)
            clock.pass_by(seconds=grace + 1)
            assert rotation().status_of(KEY).state == "current"
            assert rotator.good == {memory.get_secret(KEY)}, (step, after)
            assert leftovers(memory) == []
    assert step > 5


def test_a_value_that_was_rolled_back_to_has_one_grace_as_it_is_replaced(abilities):
    """Also where the rotation that is undone had not ended: its old value is not good for ever."""
    for step in range(5, 200):
        memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
        provider = backend(memory, abilities, mortal)
        rotation = rotation_with(provider, rotator, clock, grace_seconds=60)
        mortal.die_at(step)
        ended = False
        with suppress(Killed):
            rotation.rotate(KEY, NEW)
            ended = True
        mortal.live_on()
        if memory.get_secret(KEY) == OLD:
            continue
        assert rotation_with(provider, rotator, clock, grace_seconds=60).rollback(KEY).state == "rolled_back"
        assert memory.get_secret(KEY) == OLD
        rotation.rotate(KEY, "third")
        assert rotator.good == {OLD, "third"}
        clock.pass_by(seconds=61)
        rotation.status_of(KEY)
        assert rotator.good == {"third"}
        assert leftovers(memory) == []
        if ended:
            break


def test_a_death_in_a_rollback_leaves_no_value_good_for_ever(abilities):
    for step in range(1, 200):
        memory, rotator, clock, mortal = memory_with(), Passwords(), Clock(), Mortal()
        provider = backend(memory, abilities, mortal)
        rotator.broken = ("retire",)
        rotation = rotation_with(provider, rotator, clock)
        with pytest.raises(RotationError):
            rotation.rotate(KEY, NEW)  # readers have the new value, and it is in flight
        rotator.broken = ()
        mortal.die_at(step)
        try:
            rotation_with(provider, rotator, clock).rollback(KEY)
        except Killed:
            mortal.live_on()
        else:
            break
        with suppress(RotationError):
            rotation_with(provider, rotator, clock).resume(KEY)
        clock.pass_by(days=1)
        assert rotation.status_of(KEY).state == "current"
        assert rotator.good == {memory.get_secret(KEY)}, step
        assert leftovers(memory) == []
    assert step > 5


def test_a_repeated_step_has_its_id_again_and_no_other_step_has_it():
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("verify",)
    rotation = rotation_with(memory, rotator, grace_seconds=60)
    with pytest.raises(RotationError):
        rotation.rotate(KEY, NEW)
    with pytest.raises(RotationError):
        rotation.resume(KEY)
    rotator.broken = ()
    rotation.resume(KEY)
    rotation.rollback(KEY)
    rotation.rotate(KEY, NEW)  # the same values once more: another rotation
    steps = [(name, step.name, step.id) for name, step in rotator.steps if name != "retire"]
    ids = [one[2] for one in steps]
    assert ids[0] == ids[3]
    assert ids[1] == ids[2] == ids[4] == ids[5]
    assert len(set(ids)) == len(ids) - 4
    tried = ["apply", "verify"]
    refused = ["verify", "apply", "verify"]  # the resumption lets the target system have it once more
    assert [one[1] for one in steps[:8]] == [*tried, *refused, "verify", "rollback", "verify"]
    olds = [step.old for name, step in rotator.steps if name != "retire"]
    assert olds[:6] == [OLD] * 6
    assert OLD not in repr(rotator.steps)
    assert current_step() is None


def test_a_step_says_whether_it_may_have_been_done_before():
    memory, rotator = memory_with(), Passwords()
    rotator.broken = ("apply",)
    rotation = rotation_with(memory, rotator, grace_seconds=60)
    for again in (rotation.rotate, rotation.resume):
        with pytest.raises(RotationError):
            again(KEY)
    rotator.broken = ()
    rotation.rollback(KEY)
    rotation.rotate(KEY)
    steps = [(name, step.name, step.repeated) for name, step in rotator.steps if name == "apply"]
    assert steps == [
        ("apply", "apply", False),
        ("apply", "apply", True),
        ("apply", "rollback", True),
        ("apply", "apply", False),
    ]


def test_one_takes_the_place_of_both_functions():
    with pytest.raises(ConfigurationError, match="a rotator replaces"):
        SecretRotation(memory_with(), rotator=Passwords(), apply=lambda *_: None)


@pytest.mark.parametrize(
    ("composed", "expected"),
    [
        (lambda old, new: None, "returned a NoneType, not text"),
        (lambda old, new: new.encode(), "returned a bytes, not text"),
        (lambda old, new: old, "returned the old value"),
        (lambda old, new: {}[f"{old} {new}"], r"failed: KeyError: '\*+ \*+'"),
    ],
)
def test_what_goes_wrong_in_compose_names_the_rotator_and_changes_nothing(composed, expected):
    """The values of a rotation are in no chain of the error."""

    class Composing(Passwords):
        def compose(self, key, old, new):
            return composed(old, new)

    memory = memory_with()
    rotation = rotation_with(memory, Composing())
    for attempt in (lambda: rotation.rotate(KEY, NEW), lambda: rotation.rotate(KEY)):
        with pytest.raises(RotationError, match=f"its rotator Composing {expected}") as caught:
            attempt()
        assert caught.value.__context__ is None
        assert OLD not in str(caught.value)
        assert NEW not in str(caught.value)
    assert memory.get_secret(KEY) == OLD
    assert rotation.status_of(KEY).state == "current"


def test_one_that_is_deferred_is_not_made_by_a_look():
    made = []

    def make():
        made.append(1)
        return Passwords()

    rotation = rotation_with(memory_with(), DeferredRotator(make))
    rotation.status_of(KEY)
    rotation.needs_rotation(KEY)
    assert made == []
    rotation.rotate(KEY, NEW)
    assert made == [1]


@pytest.mark.parametrize("step", ["apply", "verify"])
def test_an_error_of_an_encoding_shows_no_character_of_a_value(step):
    """Python's own shows the first one that it cannot encode, and where."""
    rotator = Passwords()
    setattr(rotator, step, lambda *values: values[-1].encode("ascii"))
    with pytest.raises(RotationError, match="UnicodeEncodeError") as caught:
        rotation_with(memory_with(), rotator).rotate(KEY, "gr\u00fcn")
    assert "xfc" not in str(caught.value)


def test_a_rehearsal_does_every_step_there_and_back_and_writes_nothing():
    memory, rotator = memory_with(), Passwords()
    before = memory.list_versions(KEY)
    rotation_with(memory, rotator).rehearse(KEY)
    assert rotator.steps == []
    assert [name for name, _ in rotator.rehearsed.steps].count("apply") == 2
    assert [name for name, _ in rotator.rehearsed.steps].count("retire") == 2
    assert rotator.rehearsed.good == {"throwaway"}
    assert memory.list_versions(KEY) == before
    assert leftovers(memory) == []


@pytest.mark.parametrize("raised", [RuntimeError, ValidationError, ConfigurationError])
def test_what_fails_in_one_is_told_without_values(raised):
    class Talker(Passwords):
        @contextmanager
        def rehearsal(self, key, old):
            made = Passwords(old)
            made.apply = self.talk
            yield made, old

        def talk(self, key, old, new):
            raise raised(f"no {old} and no {new} here")

    rotation = SecretRotation(memory_with(), rotator=Talker(), generator=lambda *_: NEW)
    with pytest.raises(
        RotationError, match=r"the rehearsal for 'database/password' failed: .*here"
    ) as caught:
        rotation.rehearse(KEY)
    assert OLD not in str(caught.value)
    assert NEW not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("raised", [ValueError, KeyError, SecretNotFoundError])
def test_an_error_of_one_that_composes_holds_no_value_and_nothing_begins(raised):
    class Composing(Passwords):
        def compose(self, key, old, new):
            raise raised(f"{old} {new}")

    memory, rotator = memory_with(), Composing()
    rotation = SecretRotation(memory, rotator=rotator, generator=lambda *_: NEW)
    with pytest.raises(RotationError, match="its rotator Composing failed") as caught:
        rotation.rotate(KEY)
    assert OLD not in repr(vars(caught.value))
    assert NEW not in repr(vars(caught.value))
    assert caught.value.__context__ is None
    assert (rotator.steps, leftovers(memory)) == ([], [])


def test_without_a_rotator_there_is_none():
    with pytest.raises(UnsupportedOperationError, match="only a rotator can rehearse"):
        SecretRotation(memory_with()).rehearse(KEY)
    with pytest.raises(UnsupportedOperationError, match="nothing to rehearse on"):
        rotation_with(memory_with(), HttpRotator("http://127.0.0.1:9", "a key of hmac")).rehearse(KEY)
