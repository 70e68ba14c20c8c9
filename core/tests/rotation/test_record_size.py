"""Values so long that the backend just takes the record of their rotation, or does not."""

from __future__ import annotations

import sys

import pytest
from rotation_support import BACKENDS, KEY, Target, backend, leftovers
from strongroom import SecretRotation
from strongroom.errors import RotationError, SecretTooLargeError
from strongroom.keys import record_key
from strongroom_memory import MemorySecretProvider

NARROW = {name: BACKENDS[name] for name in ("no staging", "no conditions", "no versions", "nothing")}
OLD, NEW = "o" * 1000, "n" * 1000
pytestmark = pytest.mark.filterwarnings("ignore:this backend has no conditional writes")


class Narrow(MemorySecretProvider):
    """Takes values of up to `limit` bytes, and notes how long each record is."""

    def __init__(self, value=OLD, limit=sys.maxsize):
        super().__init__(secrets={KEY: value})
        self.limit, self.records, self.refused = limit, [], 0

    def set_secret(self, key, value):
        super().set_secret(key, self.fitting(key, value))

    def set_secret_if(self, key, value, expected_version):
        return super().set_secret_if(key, self.fitting(key, value), expected_version)

    def fitting(self, key, value):
        size = len(value.encode())
        if size > self.limit:
            self.refused += 1
            raise SecretTooLargeError(key, f"the value for {key!r} takes {size} bytes, not {self.limit}")
        if key == record_key(KEY):
            self.records.append(size)
        return value


def rotation_of(memory, abilities, target, fails=0):
    left = [fails]

    def apply(key, old, new):
        if left[0]:
            left[0] -= 1
            raise RuntimeError("the words of a target system, at length " * 9)
        target.apply(key, old, new)

    return SecretRotation(backend(memory, abilities), apply=apply, verify=target.verify, grace_seconds=60)


def least_limit(abilities):
    """Return the bytes that a value must be able to have for a rotation to begin."""
    memory = Narrow()
    rotation_of(memory, abilities, Target(OLD)).rotate(KEY, NEW)
    return memory.records[0]


@pytest.mark.parametrize("fails", [0, 1, 2])
@pytest.mark.parametrize("abilities", NARROW.values(), ids=NARROW)
def test_a_rotation_that_begins_can_be_ended(abilities, fails):
    """There must be room in the record for what failed, and for who goes on."""
    memory, target = Narrow(limit=least_limit(abilities)), Target(OLD)
    rotation = rotation_of(memory, abilities, target, fails)
    if not fails:
        rotation.rotate(KEY, NEW)
        rotation.rollback(KEY)
    else:
        with pytest.raises(RotationError):
            rotation.rotate(KEY, NEW)
        (status,) = rotation.status()
        assert status.last_error is not None
        (rotation.resume if fails == 1 else rotation.rollback)(KEY)
    assert memory.get_secret(KEY) == target.password == (NEW if fails == 1 else OLD)
    assert [one.state for one in rotation.status()] == ["current"]


@pytest.mark.parametrize("abilities", NARROW.values(), ids=NARROW)
def test_a_rotation_whose_record_does_not_fit_does_not_begin(abilities):
    memory, target = Narrow(limit=least_limit(abilities) - 10), Target(OLD)
    rotation = rotation_of(memory, abilities, target)
    with pytest.raises(SecretTooLargeError) as caught:
        rotation.rotate(KEY, NEW)
    assert caught.value.key == KEY
    assert str(caught.value).startswith(f"the state of the rotation of {KEY!r}, which holds its values")
    assert memory.refused == 1  # no other form of it is shorter
    assert not target.calls
    assert not leftovers(memory)
    assert [one.state for one in rotation.status()] == ["current"]


@pytest.mark.parametrize("abilities", NARROW.values(), ids=NARROW)
def test_the_record_of_letters_of_other_languages_is_not_longer_than_they_are(abilities):
    """As JSON in ASCII, these would take three times as many bytes."""
    old, new = "ä" * (len(OLD) // 2), "ё" * (len(NEW) // 2)
    memory, target = Narrow(old, limit=least_limit(abilities)), Target(old)
    rotation_of(memory, abilities, target).rotate(KEY, new)
    assert memory.get_secret(KEY) == target.password == new
