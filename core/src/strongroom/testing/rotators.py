"""The kit for rotators: what each of them does alike, as tests to subclass.

```python
import pytest
from strongroom.testing import RotatorConformance
from strongroom_acme import AcmeRotator


class TestAcme(RotatorConformance):
    @pytest.fixture
    def rotator(self, acme_server):
        return AcmeRotator(acme_server.url, user="app")

    @pytest.fixture
    def secret(self, acme_server):
        return acme_server.password_of("app")

    @pytest.fixture
    def logs_in(self, acme_server):
        return lambda value: acme_server.takes("app", value)

    @pytest.fixture
    def users(self, acme_server):
        return acme_server.users
```

Each test begins with the target system taking `secret`. The rotations run on a store of the kit's own, a
file, so that a process that is killed in the middle of one leaves what the next one has to go on with.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from strongroom.errors import (
    ConflictError,
    RotationError,
    SecretNotFoundError,
)
from strongroom.generators import generate_password
from strongroom.keys import record_key
from strongroom.providers import BaseProvider, SecretMetadata
from strongroom.rotation import Rehearser, Retirer, Rotator, SecretRotation, ValueComposer
from strongroom.testing.conformance.base import assert_harmless
from strongroom.testing.conformance.forks import Children
from strongroom.testing.deaths import Death, was_killed

__all__ = ["RotatorConformance"]

KEY = "kit/secret"
_GRACE = 3600.0
_CALLS_TO_THE_STORE = ("get_secret", "set_secret", "delete_secret", "describe_secret", "set_secret_if")


class _FileStore(BaseProvider):
    """Secrets in a file that is replaced whole, with a number for each write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _read(self) -> dict[str, list[str]]:
        with suppress(FileNotFoundError):
            found: dict[str, list[str]] = json.loads(self._path.read_text(encoding="utf-8"))
            return found
        return {}

    def _write(self, entries: dict[str, list[str]]) -> None:
        part = self._path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        part.write_text(json.dumps(entries), encoding="utf-8")
        part.replace(self._path)

    def _entry(self, key: str) -> list[str]:
        entry = self._read().get(key)
        if entry is None:
            raise SecretNotFoundError(key)
        return entry

    def get_secret(self, key: str) -> str:
        return self._entry(key)[0]

    def set_secret(self, key: str, value: str) -> None:
        entries = self._read()
        entries["\n"] = [str(int(entries.get("\n", ["0"])[0]) + 1)]  # the number of the last write
        self._write({**entries, key: [value, entries["\n"][0], datetime.now(UTC).isoformat()]})

    def delete_secret(self, key: str) -> None:
        entries = self._read()
        if entries.pop(key, None) is None:
            raise SecretNotFoundError(key)
        self._write(entries)

    def list_secrets(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._read() if key != "\n" and key.startswith(prefix))

    def describe_secret(self, key: str) -> SecretMetadata:
        _, version, written = self._entry(key)
        return SecretMetadata(key=key, version=version, updated_at=datetime.fromisoformat(written))

    def set_secret_if(self, key: str, value: str, expected_version: str | None) -> str:
        entry = self._read().get(key)
        if (None if entry is None else entry[1]) != expected_version:
            raise ConflictError(key)
        self.set_secret(key, value)
        return self._read()[key][1]


class _Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


class RotatorConformance:
    """Subclass it as `Test…` and override the fixtures `rotator` and `secret`; `logs_in` and `users` too.

    The class attributes say what the methods of a rotator do not show.
    """

    keeps_old: ClassVar[bool] = False
    """Whether what was there before goes on to work after a rotation: two users take turns."""
    deaths_every: ClassVar[int] = 8
    """Of so many moments at which a process may be killed, one is taken; 1 takes each of them."""
    deaths_times: ClassVar[int] = 1
    """How often each of these moments is taken."""

    # --- fixtures ---

    @pytest.fixture
    def rotator(self) -> Rotator:
        """Return the rotator."""
        raise NotImplementedError("override the fixture `rotator`")

    @pytest.fixture
    def secret(self) -> str:
        """Return the value that the target system takes as the test begins."""
        raise NotImplementedError("override the fixture `secret`")

    @pytest.fixture
    def logs_in(self, rotator: Rotator) -> Callable[[str], bool]:
        """Return what tells whether the target system takes a value; better not the rotator itself."""

        def takes(value: str) -> bool:
            try:
                return rotator.verify(KEY, value) is not False
            except Exception:  # noqa: BLE001  # a third party's method says no in its own way
                return False

        return takes

    @pytest.fixture
    def users(self) -> Callable[[], Any]:
        """Return what lists the users of the target system, to see what a rehearsal leaves."""
        return list

    @pytest.fixture
    def store(self, tmp_path: Path, secret: str) -> _FileStore:
        """Return the store that holds the secret."""
        store = _FileStore(tmp_path / "store.json")
        store.set_secret(KEY, secret)
        return store

    # --- the way there and back ---

    def test_readers_get_a_value_that_works(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """After a rotation the new value works, and the old one only where users take turns."""
        assert logs_in(secret), "the fixture `secret` is not what the target system takes"
        assert SecretRotation(store, rotator=rotator).rotate(KEY).state == "current"
        new = store.get_secret(KEY)
        assert new != secret
        assert logs_in(new)
        assert logs_in(secret) == self.keeps_old

    def test_one_rotation_follows_another(
        self, rotator: Rotator, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """Several in a row each end with a value that works."""
        rotation, seen = SecretRotation(store, rotator=rotator), set()
        for _ in range(3):
            rotation.rotate(KEY)
            seen.add(store.get_secret(KEY))
            assert logs_in(store.get_secret(KEY))
        assert len(seen) == 3  # as many as there were

    def test_a_rollback_within_the_grace_lets_the_old_value_work_again(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """What `rollback` makes current works."""
        rotation = SecretRotation(store, rotator=rotator, grace_seconds=_GRACE)
        rotation.rotate(KEY)
        assert rotation.rollback(KEY).state == "rolled_back"
        assert store.get_secret(KEY) == secret
        assert logs_in(secret)

    def test_a_rotation_that_does_not_pass_is_undone(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """Where `verify` fails readers keep the old value, and `rollback` lets the target system take it."""
        new = _made(rotator, secret)

        def verify(key: str, value: str) -> object:
            if value == new:
                raise RuntimeError("it is not taken")
            return rotator.verify(key, value)

        failing = SecretRotation(store, apply=rotator.apply, verify=verify)
        with pytest.raises(RotationError):
            failing.rotate(KEY, new)
        assert store.get_secret(KEY) == secret
        assert SecretRotation(store, rotator=rotator).rollback(KEY).state == "rolled_back"
        assert logs_in(secret)
        assert not logs_in(new) or self.keeps_old

    # --- each step ---

    def test_a_repeated_step_does_no_harm(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool]
    ) -> None:
        """`apply` may be called twice, after a crash, and back again."""
        new = _made(rotator, secret)
        for before, after in ((secret, new), (secret, new), (new, secret), (new, secret), (secret, new)):
            rotator.apply(KEY, before, after)
            assert rotator.verify(KEY, after) is not False
        assert logs_in(new)

    def test_verify_refuses_what_the_target_system_does_not_take(self, rotator: Rotator, secret: str) -> None:
        """It is a login, and its error holds no value."""
        wrong = _made(rotator, secret)
        try:
            assert rotator.verify(KEY, wrong) is False, "verify took a value that was never applied"
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001  # a third party's method says no in its own way
            assert_harmless(error, wrong, secret)
        assert rotator.verify(KEY, secret) is not False

    def test_no_text_of_it_holds_a_value(self, rotator: Rotator, secret: str) -> None:
        """Neither `repr` nor a pickle, where there is one, shows the secret."""
        new = _made(rotator, secret)
        rotator.apply(KEY, secret, new)
        pickled = b""
        with suppress(Exception):  # most are not to be pickled at all
            pickled = pickle.dumps(rotator)
        for value in (secret, new):
            assert value not in repr(rotator)
            assert value.encode() not in pickled

    def test_the_old_value_works_until_it_is_taken_away(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """A rotator with `retire` leaves both until the grace is over; taken away twice does no harm."""
        if not isinstance(rotator, Retirer):
            pytest.skip("the rotator does not keep the old value")
        clock = _Clock()
        rotation = SecretRotation(store, rotator=rotator, grace_seconds=60, clock=clock)
        rotation.rotate(KEY)
        new = store.get_secret(KEY)
        rotation.status_of(KEY)
        assert logs_in(secret)
        assert logs_in(new)
        clock.now += timedelta(seconds=61)
        rotation.status_of(KEY)
        assert not logs_in(secret)
        rotator.retire(KEY, secret, new)
        assert logs_in(new)

    # --- rehearsals ---

    def test_a_rehearsal_leaves_nothing(
        self,
        rotator: Rotator,
        secret: str,
        logs_in: Callable[[str], bool],
        users: Callable[[], Any],
        store: _FileStore,
    ) -> None:
        """It changes neither the secret nor its user, and its own user is gone."""
        if not isinstance(rotator, Rehearser):
            pytest.skip("the rotator does not rehearse")
        before = users()
        SecretRotation(store, rotator=rotator).rehearse(KEY)
        assert users() == before
        assert store.get_secret(KEY) == secret
        assert logs_in(secret)
        assert store.list_secrets() == [KEY]

    def test_one_that_fails_leaves_nothing(
        self, rotator: Rotator, secret: str, users: Callable[[], Any]
    ) -> None:
        """Whatever is raised in it."""
        if not isinstance(rotator, Rehearser):
            pytest.skip("the rotator does not rehearse")
        before = users()
        with suppress(KeyboardInterrupt), rotator.rehearsal(KEY, secret) as (throwaway, first):
            throwaway.apply(KEY, first, _made(throwaway, first))
            raise KeyboardInterrupt
        assert users() == before

    # --- several at once ---

    def test_threads_that_rotate_at_once_make_one_rotation(
        self, rotator: Rotator, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """The others get a `ConflictError`; what readers get works."""
        entered, go_on = threading.Event(), threading.Event()

        class Slow:
            def apply(self, key: str, old: str, new: str) -> object:
                entered.set()
                go_on.wait(60)
                return rotator.apply(key, old, new)

            def __getattr__(self, name: str) -> Any:
                return getattr(rotator, name)

        slow: Any = Slow()
        slow.verify = rotator.verify
        done: list[str] = []
        first = threading.Thread(
            target=lambda: done.append(SecretRotation(store, rotator=slow).rotate(KEY).state)
        )
        first.start()
        try:
            assert entered.wait(60)
            for work in ("rotate", "resume", "rollback"):
                with pytest.raises(ConflictError):
                    getattr(SecretRotation(store, rotator=rotator), work)(KEY)
        finally:
            go_on.set()
            first.join()
        assert done == ["current"]
        assert logs_in(store.get_secret(KEY))

    def test_it_works_on_both_sides_of_a_fork(
        self, rotator: Rotator, secret: str, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """A child uses the rotator that its parent has used, and the parent goes on with it."""
        assert rotator.verify(KEY, secret) is not False

        def work(_number: int) -> str:
            return SecretRotation(store, rotator=rotator).rotate(KEY).state

        assert Children(1, work).results() == ["current"]
        assert logs_in(store.get_secret(KEY))
        assert SecretRotation(store, rotator=rotator).rotate(KEY).state == "current"
        assert logs_in(store.get_secret(KEY))

    # --- deaths ---

    def test_a_process_that_is_killed_at_any_step_loses_nothing(
        self, rotator: Rotator, logs_in: Callable[[str], bool], store: _FileStore
    ) -> None:
        """One value is what readers get and the target system takes, or a rotation is shown in flight.

        The next attempt finishes it, or undoes it: afterwards nothing is in flight.
        """
        killed = 0
        turns = list(itertools.product((False, True), (0, 60))) * self.deaths_times
        ways = "resume", "rollback", "rollback", "resume"
        for turn, (after, grace) in enumerate(turns):
            way = ways[(turn + turn // len(ways)) % len(ways)]
            for step in itertools.count(1 + turn % self.deaths_every, self.deaths_every):
                before = store.get_secret(KEY)
                new = _made(rotator, before)
                if not _dies(rotator, store, new, Death(step, after=after), grace):
                    _finish(rotator, store, grace, "resume")
                    break
                killed += 1
                situation = f"killed {'after' if after else 'before'} step {step}"
                shown = SecretRotation(store).status_of(KEY).state  # without the rotator, to change nothing
                if shown == "current":
                    self._has_one(store, logs_in, before, new, situation, within_grace=grace > 0)
                else:
                    assert store.get_secret(KEY) in {before, new}, situation
                _finish(rotator, store, grace, way)
                self._has_one(store, logs_in, before, new, f"{situation}, then {way}")
                if way == "rollback" and shown != "current":
                    assert store.get_secret(KEY) == before, f"{situation}: it was not undone"
        assert killed, "there was nothing to die at"

    def _has_one(
        self,
        store: _FileStore,
        logs_in: Callable[[str], bool],
        before: str,
        new: str,
        situation: str,
        *,
        within_grace: bool = False,
    ) -> None:
        """Assert that the target system takes what readers get, and not the other value as well."""
        current = store.get_secret(KEY)
        assert current in {before, new}, f"{situation}: readers get neither of both"
        assert logs_in(current), f"{situation}: what readers get is not taken"
        other = before if current == new else new
        assert self.keeps_old or within_grace or not logs_in(other), f"{situation}: both are taken"


def _finish(rotator: Rotator, store: _FileStore, grace: int, way: str) -> None:
    """Go on with what is in flight, or undo it, and let the grace pass."""
    clock = _Clock()
    rotation = SecretRotation(store, rotator=rotator, grace_seconds=grace, clock=clock)
    with suppress(RotationError):
        getattr(rotation, way)(KEY)
    clock.now += timedelta(seconds=grace + 1)
    assert rotation.status_of(KEY).state == "current"
    assert record_key(KEY) not in store.list_secrets(), "something is left of the rotation"


def _made(rotator: object, old: str) -> str:
    password = generate_password()
    return rotator.compose(KEY, old, password) if isinstance(rotator, ValueComposer) else password


def _dies(rotator: Rotator, store: _FileStore, new: str, death: Death, grace: int) -> bool:
    """Rotate in a process of its own; return whether it was killed, and not already done."""

    def rotate() -> None:
        _count(death, store, *_CALLS_TO_THE_STORE)
        _count(death, rotator, "apply", "verify", "retire")
        SecretRotation(store, rotator=rotator, grace_seconds=grace).rotate(KEY, new)

    return was_killed(rotate)


def _count(death: Death, target: Any, *names: str) -> None:
    """Count the calls of the methods `names` of `target`, for the rest of this process.

    By a class of its own, as `target` may be frozen, or have slots.
    """
    kind = type(target)
    methods = {name: death.counted(getattr(kind, name)) for name in names if hasattr(kind, name)}
    object.__setattr__(target, "__class__", type(kind.__name__, (kind,), {"__slots__": (), **methods}))
