"""An error of the backend at every request, before it took effect or after (the answer was lost)."""

from __future__ import annotations

import pytest
from rotation_support import BACKENDS, KEY, NAMED, NEW, OLD, Mortal
from sampling import crossed
from strongroom import SecretRotation
from strongroom.cache import MemoryCacheStore
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    PermissionDeniedError,
    RotationError,
    StrongroomError,
    ThrottledError,
)
from strongroom_memory import MemorySecretProvider
from test_deaths import World, rotate

ERRORS = [
    pytest.param(BackendUnavailableError, True),
    # As an SDK that repeats a request whose answer was lost, and whose repetition is refused.
    pytest.param(ConflictError, True),
    pytest.param(ConflictError, False),
    pytest.param(BackendUnavailableError, False),
    pytest.param(ThrottledError, False),
    pytest.param(PermissionDeniedError, False),
]
EACH = pytest.mark.parametrize(("abilities", "error", "after"), crossed(NAMED, ERRORS))


class Failing(Mortal):
    """Lets one request fail; those after it work again."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def call(self, method, *args, **kwargs):
        self.count += 1
        fails = self.count == self.at
        if fails and not self.after:
            raise self.error("no, for a test")
        result = method(*args, **kwargs)
        if fails:
            raise self.error("no, for a test")
        return result


def every_failure(abilities, error, *, after, grace=0):
    """Yield a world in which a rotation met `error`, for each request that it makes, and what was raised."""
    count = World(abilities, grace, Failing(error)).requests(rotate)
    for at in range(1, count + 1):
        world = World(abilities, grace, Failing(error))
        world.mortal.die_at(at, after=after)
        raised = None
        try:
            rotate(world)
        except StrongroomError as failure:
            raised = failure
        world.mortal.live_on()
        assert world.memory.get_secret(KEY) in {OLD, NEW}
        if raised is not None:
            said = f"{raised} {raised!r} {raised.__cause__!r} {raised.__context__!r} {raised.hint}"
            assert NEW not in said
            assert OLD not in said
        yield world, raised


@pytest.mark.parametrize("grace", [0, pytest.param(60, marks=pytest.mark.torture)])
@EACH
def test_a_rotation_that_met_an_error_is_finished(abilities, error, after, grace):
    for world, _ in every_failure(abilities, error, after=after, grace=grace):
        try:
            world.rotation().resume(KEY)
        except RotationError:
            world.holds(world.memory.get_secret(KEY))  # it had not begun, or had ended
        else:
            world.holds(NEW)


@EACH
def test_a_rotation_that_met_an_error_is_undone(abilities, error, after):
    for world, _ in every_failure(abilities, error, after=after):
        try:
            world.rotation().rollback(KEY)
        except RotationError:
            world.holds(world.memory.get_secret(KEY))
        else:
            world.holds(OLD)


@pytest.mark.parametrize("abilities", [BACKENDS["everything"]])
@pytest.mark.parametrize(("error", "after"), ERRORS)
def test_what_is_returned_is_true(abilities, error, after):
    """Where `rotate` returned, the new value is the current one and nothing is in flight."""
    quiet = 0
    for world, raised in every_failure(abilities, error, after=after):
        if raised is None:
            quiet += 1
            world.holds(NEW)
    assert quiet < 20


@pytest.mark.parametrize(
    ("abilities", "grace", "after"),
    crossed(NAMED, [pytest.param(*pair) for pair in ((0, True), (60, False), (0, False), (60, True))]),
)
def test_an_outage_at_the_last_step_says_that_it_took_effect(abilities, grace, after):
    """And only there; `resume` ends what `status` shows. An ended record that stays is not an error."""
    took = 0
    for world, raised in every_failure(abilities, BackendUnavailableError, after=after, grace=grace):
        effect = raised is None or "took effect, but could not be ended: no, for a test" in raised.message
        if raised is None:
            world.holds(NEW)
        elif effect:
            took += 1
            assert raised.message.startswith(f"the rotation of {KEY!r} took effect")
            assert "readers get that value, and the target system takes it" in raised.hint
            assert (world.memory.get_secret(KEY), world.target.password) == (NEW, NEW)
            in_flight = world.rotation().status_of(KEY).state != "current"
            assert in_flight or after
            if in_flight:
                assert world.rotation().resume(KEY).state == "current"
            world.holds(NEW)
        else:
            assert "took effect" not in f"{raised.message} {raised.hint}"
    assert took in {1, 2}  # without conditional writes it is read first


@pytest.mark.parametrize(("abilities", "after"), crossed(NAMED, [True, False]))
def test_so_does_one_at_the_last_step_of_a_rollback(abilities, after):
    def roll_back(world):
        world.rotation().rollback(KEY)

    def half_way(world):
        failing = {"apply": world.target.apply, "verify": lambda *_: False}
        with pytest.raises(RotationError):
            SecretRotation(world.provider, lock=MemoryCacheStore(), **failing).rotate(KEY, NEW)

    counted = World(abilities, 0, Failing(BackendUnavailableError))
    half_way(counted)
    took = 0
    for at in range(1, counted.requests(roll_back) + 1):
        world = World(abilities, 0, Failing(BackendUnavailableError))
        half_way(world)
        world.mortal.die_at(at, after=after)
        raised = None
        try:
            roll_back(world)
        except StrongroomError as error:
            raised = error
        world.mortal.live_on()
        if raised is not None and "took effect" in raised.message:
            took += 1
            assert raised.message.startswith(f"the rollback of {KEY!r} took effect")
            assert (world.memory.get_secret(KEY), world.target.password) == (OLD, OLD)
    assert took in {1, 2}  # without conditional writes it is read first


class Unreplacing(MemorySecretProvider):
    """Refuses to replace the record of a rotation after it has done so some times."""

    def __init__(self, times):
        super().__init__()
        self.left = times

    def set_secret_if(self, key, value, expected_version):
        if expected_version is not None and ".rotation" in key:
            self.left -= 1
            if self.left < 0:
                raise ConflictError("no, for a test", key=key)
        return super().set_secret_if(key, value, expected_version)


@pytest.mark.parametrize("times", range(3))
def test_a_backend_that_does_not_replace_our_own_record_is_not_asked_for_ever(times):
    """Nobody else has written; once it takes writes again, the rotation can be taken up."""
    provider = Unreplacing(times)
    provider.set_secret(KEY, OLD)
    system = {KEY: OLD}
    rotation = SecretRotation(
        provider,
        apply=lambda key, old, new: system.update({key: new}),
        verify=lambda key, new: system[key] == new,
    )
    with pytest.raises(BackendUnavailableError, match="nobody else has written"):
        rotation.rotate(KEY, NEW)
    assert -20 < provider.left < 0
    provider.left = 1000
    assert rotation.resume(KEY).state == "current"
    assert system[KEY] == provider.get_secret(KEY) == NEW
