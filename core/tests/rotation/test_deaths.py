"""Death before and after every request and callback: nothing is lost, and a new process goes on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotation_support import (
    BACKENDS,
    KEY,
    NAMED,
    NEW,
    OLD,
    Killed,
    Mortal,
    Target,
    backend,
    leftovers,
    memory_with,
    states,
)
from sampling import crossed, sample
from strongroom import SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import ConflictError, RotationError

GRACE = pytest.mark.parametrize(("abilities", "grace"), crossed(NAMED, [0, 60]))
SOME = pytest.mark.parametrize("abilities", sample(NAMED, one_in=2))


class World:
    """A backend, a target system, and a rotation in a process that can die."""

    def __init__(self, abilities, grace=0, mortal=None):
        self.memory, self.target, self.mortal = memory_with(), Target(), mortal or Mortal()
        self.provider = backend(self.memory, abilities, self.mortal)
        self.grace = grace

    def rotation(self):
        return SecretRotation(
            self.provider,
            apply=lambda *call: self.mortal.call(self.target.apply, *call),
            verify=lambda *call: self.mortal.call(self.target.verify, *call),
            grace_seconds=self.grace,
            lock=MemoryCacheStore(),
        )

    def requests(self, work):
        """Return how many requests `work` makes of a world like this."""
        self.mortal.die_at(10**9)
        work(self)
        return self.mortal.count

    def dies(self, work, at, *, after):
        self.mortal.die_at(at, after=after)
        with pytest.raises(Killed):
            work(self)
        self.mortal.live_on()
        assert self.memory.get_secret(KEY) in {OLD, NEW}

    def holds(self, value):
        """Assert that there is nothing but `value`, in the store and in the target system."""
        assert self.memory.get_secret(KEY) == value
        assert self.target.password == value
        assert states(self.memory).count("current") == 1
        found = self.rotation().status()
        assert [(one.key, one.state) for one in found] == [(KEY, "current")]
        if not self.grace:
            assert not leftovers(self.memory)
        assert "pending" not in states(self.memory)
        self.rotation().rotate(KEY, "the one after")  # nothing is in the way
        assert self.memory.get_secret(KEY) == "the one after"


def rotate(world):
    world.rotation().rotate(KEY, NEW)


def every_death(abilities, grace, work, before=lambda world: None):
    count = World(abilities, grace)
    before(count)
    for at in range(1, count.requests(work) + 1):
        for after in (False, True):
            world = World(abilities, grace)
            before(world)
            world.dies(work, at, after=after)
            yield world


@GRACE
def test_a_rotation_that_died_is_finished(abilities, grace):
    deaths = 0
    for world in every_death(abilities, grace, rotate):
        deaths += 1
        try:
            world.rotation().resume(KEY)
        except RotationError:
            # It died before it began, or after it had ended.
            world.holds(world.memory.get_secret(KEY))
        else:
            world.holds(NEW)
    assert deaths >= 20


@GRACE
def test_a_rotation_that_died_is_undone(abilities, grace):
    for world in every_death(abilities, grace, rotate):
        try:
            world.rotation().rollback(KEY)
        except RotationError:
            world.holds(world.memory.get_secret(KEY))
        else:
            world.holds(OLD)


@SOME
def test_rotate_due_goes_on_with_what_died(abilities):
    for world in every_death(abilities, 0, rotate):
        if "describe_secret" in abilities:
            world.rotation().rotate_due()
            world.holds(world.memory.get_secret(KEY))


@SOME
def test_a_resumption_that_died_is_finished(abilities):
    def half_way(world):
        world.target.verify = lambda key, new: False
        with pytest.raises(RotationError):
            rotate(world)
        del world.target.verify

    def resume(world):
        world.rotation().resume(KEY)

    for world in every_death(abilities, 0, resume, half_way):
        with suppress(RotationError):
            resume(world)
        world.holds(NEW)


@SOME
def test_a_rollback_that_died_is_undone_or_finished(abilities):
    def half_way(world):
        world.target.verify = lambda key, new: False
        with pytest.raises(RotationError):
            rotate(world)
        del world.target.verify

    def rollback(world):
        world.rotation().rollback(KEY)

    for way in (lambda rotation: rotation.rollback, lambda rotation: rotation.resume):
        for world in every_death(abilities, 0, rollback, half_way):
            try:
                result = way(world.rotation())(KEY)
            except RotationError:
                world.holds(OLD)
            else:
                assert result.state == ("current" if world.memory.get_secret(KEY) == NEW else "rolled_back")
                world.holds(world.memory.get_secret(KEY))


@SOME
def test_a_value_put_back_by_a_process_that_died_is_put_back(abilities):
    def rollback(world):
        world.rotation().rollback(KEY)

    for world in every_death(abilities, 60, rollback, rotate):
        try:
            world.rotation().resume(KEY)
        except RotationError:
            # It had not begun: then it can be done again; or it had ended.
            if world.memory.get_secret(KEY) == NEW:
                rollback(world)
        world.holds(OLD)


@SOME
def test_whoever_comes_while_it_is_dead_is_told(abilities):
    for world in every_death(abilities, 0, rotate):
        before = world.memory.get_secret(KEY)
        try:
            world.rotation().rotate(KEY, "another")
        except ConflictError:
            assert world.memory.get_secret(KEY) == before
            assert world.rotation().rollback(KEY).state == "rolled_back"
            assert world.memory.get_secret(KEY) == OLD == world.target.password
        else:
            world.holds("another")


@settings(max_examples=50)
@given(
    name=st.sampled_from(sorted(BACKENDS)),
    grace=st.sampled_from([0, 60]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["rotate", "resume", "rollback", "rotate_due"]),
            st.none() | st.integers(1, 30),
            st.booleans(),
        ),
        max_size=8,
    ),
)
def test_whatever_happens_there_is_a_value_that_works(name, grace, steps):
    """The store and the target system agree whenever nothing is in flight."""
    world = World(BACKENDS[name], grace)
    written = {OLD}
    for number, (step, at, after) in enumerate(steps):
        world.mortal.live_on()
        if at is not None:
            world.mortal.die_at(at, after=after)
        rotation = world.rotation()
        try:
            if step == "rotate":
                written.add(f"value number {number}")
                rotation.rotate(KEY, f"value number {number}")
            elif step == "rotate_due":
                if "describe_secret" in BACKENDS[name]:
                    rotation.rotate_due()
            else:
                getattr(rotation, step)(KEY)
        except (Killed, RotationError, ConflictError):
            pass
        assert world.memory.get_secret(KEY) in written
    world.mortal.live_on()
    in_flight = world.rotation().status()[0].state != "current"
    if in_flight:
        world.rotation().resume(KEY)
    world.holds(world.memory.get_secret(KEY))
