"""The record of a rotation, and the lock around it."""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager, nullcontext
from datetime import datetime
from itertools import permutations

import pytest
from rotation_support import BACKENDS, KEY, NEW, OLD, Target, backend, failing, leftovers, memory_with
from strongroom import PrefixMiddleware, SecretRotation, TenantContext, TenantSecretProvider
from strongroom.cache import MemoryCacheStore
from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError, RotationError
from strongroom.keys import record_key
from strongroom.middleware.prefix import StripPrefixMiddleware
from strongroom.rotation.ledger import Record


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
