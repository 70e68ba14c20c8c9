"""Rotation of secrets without downtime."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from strongroom.cache.addresses import issues_leases
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    ConflictError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    ValidationError,
    show_key,
)
from strongroom.generators import generate_password
from strongroom.hooks import Outcome, SecretEvent
from strongroom.hooks.events import finish_event, start_event
from strongroom.hooks.identity import actor
from strongroom.keys import check_value, is_reserved
from strongroom.pipeline import Pipeline, check_user_key, outcome_of
from strongroom.providers import Describer, SecretMetadata, guard
from strongroom.providers.metadata import due_at
from strongroom.rotation.attempts import attempting
from strongroom.rotation.held_record import waits
from strongroom.rotation.ledger import Record
from strongroom.rotation.redaction import redacted_error, value_of
from strongroom.rotation.results import RotationResult, RotationStatus
from strongroom.rotation.rotators import Rotator, make_for, rehearse
from strongroom.rotation.settings import Apply, RotationSettings, Verify, aware, check_functions
from strongroom.rotation.state_machine import RotationRun
from strongroom.rotation.target import check_against_rules, pipeline_answering
from strongroom.runtime.coroutines import refuse_class
from strongroom.runtime.pickling import ProcessBound
from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.cache.store import CacheStore
    from strongroom.generators import Generator

__all__ = ["SecretRotation"]

T = TypeVar("T")
_log = logging.getLogger("strongroom.rotation")


def _now() -> datetime:
    return datetime.now(UTC)


def _password(_key: str, _old: str) -> str:
    return generate_password()


class SecretRotation(ProcessBound):
    """Gives secrets new values, so that readers have a working one at every moment.

    The state of a rotation is kept with the secret and survives the process. Until `verify` has passed,
    readers get the old value; after a crash at any point, `resume` finishes the rotation and `rollback`
    undoes it. Two processes that rotate one key make one rotation, through conditional writes, or, on a
    backend that has none, through `lock`; without either there is a warning, and only one process may rotate.

    Args:
        provider: What holds the secrets: a registry, a pipeline or any provider.
        rotation_interval_days: How old a secret may be. The age is the backend's `updated_at`.
        generator: Makes the new value of the key and the old value; without it a password of 32 characters.
        apply: Changes the target system: called with the key, the old and the new value; with the two swapped
            to undo it; and again after a crash, so a second call must be harmless.
        verify: Checks whether the target system accepts the new value: called with the key and the value; it
            raises or returns False if not.
        rotator: Does both instead of `apply` and `verify`: a `strongroom.rotation.Rotator`.
        grace_seconds: How long after a rotation `rollback` can restore the previous value.
        on_event: Called with an event when a rotation, resumption or rollback ends, successfully or not.
        lock: A `strongroom.cache.CacheStore` whose lock keeps processes apart where the backend cannot.
        jitter: By how much of the interval, 0 to 1, a secret may be due earlier, so that not all are due at
            once.
        attempt_seconds: How long one call of `apply`, `verify` or the backend may take. Until then no other
            process continues a rotation whose process may be in its `apply`, unless that process ran on this
            machine and has ended.
        clock: The current time, aware.

    Raises:
        ConfigurationError: A number is out of its range.
        TypeError: `provider` lacks one of the four methods, or an argument that must be a function is not.
    """

    def __init__(
        self,
        provider: Any,
        rotation_interval_days: float = 30,
        *,
        generator: Generator | None = None,
        apply: Apply | None = None,
        verify: Verify | None = None,
        rotator: Rotator | None = None,
        grace_seconds: float = 0,
        on_event: Callable[[SecretEvent], object] | None = None,
        lock: CacheStore | None = None,
        jitter: float = 0.0,
        attempt_seconds: float = 900,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if rotation_interval_days < 0 or grace_seconds < 0 or attempt_seconds <= 0 or not 0 <= jitter <= 1:
            raise ConfigurationError(
                "rotation: rotation_interval_days and grace_seconds are at least 0, attempt_seconds is more, "
                "jitter is from 0 to 1"
            )
        if rotator is not None:
            if apply is not None or verify is not None:
                raise ConfigurationError("rotation: a rotator replaces apply and verify")
            refuse_class(rotator, "apply")
            apply, verify = rotator.apply, rotator.verify
        check_functions(lock, generator=generator, apply=apply, verify=verify, on_event=on_event, clock=clock)
        self._provider = guard(provider)
        try:
            self._interval = timedelta(days=rotation_interval_days)
            grace = timedelta(seconds=grace_seconds)
            patience = timedelta(seconds=attempt_seconds)
        except (OverflowError, ValueError):  # it is infinite, or not a number
            raise ConfigurationError(
                "rotation: rotation_interval_days, grace_seconds and attempt_seconds are finite, "
                "below a million years"
            ) from None
        self._jitter = jitter
        self._generator = _password if generator is None else generator
        self._on_event = on_event
        self._clock = aware(clock)
        self._rotator = rotator
        self._settings = RotationSettings(apply, verify, rotator, grace, lock, self._clock, patience)

    def __repr__(self) -> str:
        return f"<SecretRotation of {self._provider!r} every {self._interval}>"

    # --- when ---

    def needs_rotation(self, key: str) -> bool:
        """Return whether `key` is older than the interval.

        Raises:
            SecretNotFoundError: There is no such secret.
            UnsupportedOperationError: The backend does not tell how old it is.
        """
        metadata = self._described(key)
        due = None if metadata is None else self._due_at(key, metadata)
        if due is None:
            raise UnsupportedOperationError(
                f"the backend of {show_key(key)} does not say how old a secret is",
                key=key,
                pipeline=_name_of(pipeline_answering(self._provider, key)),
                hint="rotate it by `rotate`, on a schedule of your own",
            )
        return self._clock() >= due

    def status_of(self, key: str) -> RotationStatus:
        """Return the state of `key`'s rotation.

        Raises:
            SecretNotFoundError: There is no such secret.
            RotationError: The state of its rotation cannot be understood.
        """
        with self._at(key) as steps:
            record = steps.current_record()
        metadata = self._described(key)
        if metadata is None:
            self._provider.get_secret(key)  # only this shows that it exists
        in_flight = record is not None and record.in_flight
        return RotationStatus(
            key,
            record.state if record is not None and in_flight else "current",
            None if metadata is None else metadata.version,
            None if metadata is None else metadata.updated_at,
            None if metadata is None else self._due_at(key, metadata),
            record.error if record is not None else None,
        )

    def status(self, prefix: str = "") -> list[RotationStatus]:
        """Return the state of each secret whose key begins with `prefix`, sorted by key.

        If the state of one cannot be read or understood, its `state` is `unknown` and `last_error` says why.
        """
        statuses = []
        for key in self._keys(prefix):
            try:
                statuses.append(self.status_of(key))
            except SecretNotFoundError:
                continue  # deleted since it was listed
            except BackendUnavailableError:
                raise  # the others would wait for their deadlines, one after the other
            except Exception as error:  # noqa: BLE001  # a hook may veto with any, with a value in it
                said = error.message if isinstance(error, StrongroomError) else type(error).__name__
                statuses.append(RotationStatus(key, "unknown", last_error=said))
        return statuses

    # --- what ---

    def rotate(self, key: str, new_secret: str | None = None) -> RotationResult:
        """Give `key` a new value: `new_secret`, else what the generator makes.

        Raises:
            ConflictError: A rotation of it is in flight, or it was changed at the same time.
            RotationError: `apply` or `verify` failed. Readers get the old value, and the rotation stays in
                flight until `resume` or `rollback`. Or the generator failed, and nothing is in flight.
            SecretNotFoundError: There is no such secret.
            ValidationError, SecretTooLargeError: The new value is refused; nothing is in flight.
        """

        def make(old: str) -> str:
            return self._new_value(key, old, new_secret)

        return self._run(key, lambda steps: steps.finish(steps.begin(make)))

    def _new_value(self, key: str, old: str, given: str | None = None) -> str:
        def make(before: str) -> str:
            return check_value(given if given is not None else self._generated(key, before), key)

        return check_value(make_for(self._rotator, key, old, make), key)

    def _generated(self, key: str, old: str) -> str:
        return value_of(lambda: self._generator(key, old), self._generator, "generator", key, (old,))

    def rehearse(self, key: str) -> None:
        """Do everything that a rotation of `key` would do at the target system, on a temporary user.

        The secret is read, but neither it nor the state of its rotation is written.

        Raises:
            UnsupportedOperationError: There is no rotator, or it has nothing to rehearse on.
            RotationError: A step failed; nothing of it is left.
            SecretNotFoundError: There is no such secret.
        """
        if self._rotator is None:
            raise UnsupportedOperationError(
                f"{show_key(key)} has no rotator, and only a rotator can rehearse",
                key=key,
                hint="give its declaration `rotate: {rotator: {type: …}}`",
            )
        target = pipeline_answering(self._provider, check_user_key(key))
        old = self._provider.get_secret(key)
        values = [old]

        def make(before: str) -> str:
            new: str = check_value(self._generator(key, before), key)
            values.extend((before, new))
            return new

        def check(new: str) -> None:
            check_against_rules(target, key, old, check_value(new, key))

        try:
            rehearse(self._rotator, key, old, make, check)
        except Exception as error:  # a third party's method may raise anything at all
            tells = isinstance(error, UnsupportedOperationError | ValidationError | ConfigurationError)
            if tells and not any(value and value in str(error) for value in values):
                raise
            reason = redacted_error(error, values)
        else:
            return
        raise RotationError(f"the rehearsal for {show_key(key)} failed: {reason}", key=key)

    def resume(self, key: str) -> RotationResult:
        """Finish the rotation of `key` that is in flight, wherever its process was.

        Raises:
            ConflictError, RotationError: See `rotate`; the latter also if none is in flight.
        """

        def finish(steps: RotationRun) -> RotationResult:
            return steps.finish(steps.adopt(_in_flight(key, steps.current_record())))

        return self._run(key, finish)

    def rollback(self, key: str) -> RotationResult:
        """Undo the rotation of `key` that is in flight, or within its grace the last one.

        In flight, `apply` puts the old value back into the target system, and readers never see the new one.
        After its end, the previous value becomes a new version, by a rotation of its own.

        Raises:
            RotationError: There is nothing to undo, or `apply` or `verify` failed.
            ConflictError: Another process goes on with it.
        """

        def undo(steps: RotationRun) -> RotationResult:
            record = steps.current_record()
            if record is not None and record.in_flight:
                return steps.undo(steps.adopt(record))
            if record is None:
                raise RotationError(
                    f"no rotation of {show_key(key)} is in flight, or within its grace",
                    key=key,
                    hint="`grace_seconds` says how long one that has ended can be undone",
                )
            return steps.put_back(record)

        return self._run(key, undo)

    def forget(self, key: str) -> None:
        """Drop the stored state of the rotation of `key`, even if it cannot be understood.

        The secret, its versions and the target system stay as they are: look at them first. A staged version
        then counts as another tool's: `resume` promotes it, and `rollback` drops it.

        Raises:
            ConflictError: A process may be working on it.
        """
        self._seen(key, lambda: self._steps(key, RotationRun.forget))

    def rotate_due(self, prefix: str = "") -> list[RotationResult]:
        """Resume what is in flight, then rotate what is older than the interval.

        A key that fails does not stop the others: it stays in flight, and is reported so. A rotation that
        failed once is tried again by the next call, after a second failure after a minute, then after twice
        as long each time, a day at most. A version that another tool has staged is left to it.

        Raises:
            UnsupportedOperationError: The backend does not tell how old some secret is.
            ConflictError: A secret was changed while its rotation was in flight, or has a version that
                another tool has staged. A key that another process is at is reported as in flight.
            StrongroomError: Another error, the first one; in any case all keys were tried. A hook's veto is
                raised in its place.
        """
        results: list[RotationResult] = []
        failed: list[Exception] = []
        for key in self._keys(prefix):
            try:
                result = self.rotate_if_due(key)
            except SecretNotFoundError:
                continue  # deleted since it was listed
            except Exception as error:  # noqa: BLE001  # a hook may veto with any; it is raised at the end
                result = self._state_after(key, error)
                if result is None:
                    failed.append(error)
            if result is not None:
                results.append(result)
        if failed:
            raise failed[0]
        return results

    def _keys(self, prefix: str) -> list[str]:
        # A third party's provider does not know which names are reserved.
        found = [key for key in self._provider.list_secrets(prefix) if not is_reserved(key)]
        return [key for key in found if not self._is_leased(key)]

    def _is_leased(self, key: str) -> bool:
        return issues_leases(pipeline_answering(self._provider, key), written=True)

    def rotate_if_due(self, key: str) -> RotationResult | None:
        """Do what `rotate_due` does, for one key.

        Returns:
            How it ended; None if there was nothing to do.

        Raises:
            ConflictError, RotationError: See `rotate`.
            UnsupportedOperationError: The backend does not tell how old it is.
        """
        step = self.due_step(key)
        if step is None or step == "wait":
            return None
        if step == "rotate":
            return self.rotate(key)
        # Only a rotation with a record: if it has just ended, there may be another tool's pending version.
        return self._run(key, lambda steps: steps.finish(steps.adopt(_in_flight(key, steps.recorded()))))

    def due_step(self, key: str) -> Literal["resume", "rotate", "wait"] | None:
        """Return what `rotate_if_due` would do: `wait` means nothing yet, after a recent failure.

        Raises:
            UnsupportedOperationError: The backend does not tell how old it is.
        """
        with self._at(key) as steps:
            found = steps.recorded()
        if found is not None and found.in_flight:
            return "wait" if waits(found, self._clock()) else "resume"
        return "rotate" if self.needs_rotation(key) else None

    def _state_after(self, key: str, error: Exception) -> RotationResult | None:
        """Return the rotation in flight that `error` left; None if the error has to be raised."""
        if not isinstance(error, RotationError | ConflictError):
            return None
        try:
            with self._at(key) as steps:
                record = steps.recorded()
        except StrongroomError:
            return None  # the first error is raised
        if record is None or not record.in_flight:
            return None
        if isinstance(error, ConflictError) and record.attempt is None:
            return None  # no attempt works on it, so it was not a faster one
        return RotationResult(key, record.state, record.old_version, record.new_version)

    # --- one key ---

    @contextmanager
    def _at(self, key: str) -> Iterator[RotationRun]:
        target = pipeline_answering(self._provider, check_user_key(key))
        if self._is_leased(key):
            raise UnsupportedOperationError(
                f"{show_key(key)} is a lease, and its server issues the next one by itself",
                key=key,
                hint="`strongroom lease revoke` ends one",
            )
        with attempting() as attempt:
            steps = RotationRun(target, key, self._settings, attempt)
            try:
                yield steps
            except StrongroomError as error:
                steps.explain(error)
                error.pipeline = error.pipeline or _name_of(target)
                raise

    def _steps(self, key: str, work: Callable[[RotationRun], T]) -> T:
        with self._at(key) as steps:
            return work(steps)

    def _seen(self, key: str, call: Callable[[], T]) -> T:
        """Do what `call` does as an operation that the hooks of `key` see, and may veto."""
        target = pipeline_answering(self._provider, key)
        return target.run_with_hooks("rotate", key, call) if isinstance(target, Pipeline) else call()

    def _run(self, key: str, work: Callable[[RotationRun], RotationResult]) -> RotationResult:
        pipeline = _name_of(pipeline_answering(self._provider, key))
        event = start_event("rotate", key, pipeline, current_tenant(), actor())
        started = time.perf_counter()
        failure: BaseException | None = None
        vetoed = True

        def let_begin() -> RotationResult:
            nonlocal vetoed
            vetoed = False
            return self._steps(key, work)

        try:
            return self._seen(key, let_begin)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._report(event, time.perf_counter() - started, failure, vetoed=vetoed)

    def _report(
        self, event: SecretEvent, duration: float, failure: BaseException | None, *, vetoed: bool
    ) -> None:
        if self._on_event is None:
            return
        outcome: Outcome = "vetoed" if vetoed else "ok" if failure is None else outcome_of(failure)
        error_name = None if failure is None else type(failure).__name__
        try:
            self._on_event(finish_event(event, duration, outcome, None, error_name, copy=True))
        except Exception as error:  # noqa: BLE001  # a third party's function must not hide how the rotation ended
            _log.warning("on_event failed after a rotation: %s", type(error).__name__)

    def _described(self, key: str) -> SecretMetadata | None:
        target = pipeline_answering(self._provider, check_user_key(key))
        if not isinstance(target, Describer):
            return None
        try:
            return target.describe_secret(key)
        except UnsupportedOperationError:
            return None

    def _due_at(self, key: str, metadata: SecretMetadata) -> datetime | None:
        # The same in every process, and different for each key.
        part = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
        return due_at(metadata, self._interval / timedelta(days=1) * (1 - self._jitter * part))


def _name_of(target: Any) -> str | None:
    """Return the name of the pipeline `target`; None if it is another provider."""
    return target.name if isinstance(target, Pipeline) else None


def _in_flight(key: str, found: Record | None) -> Record:
    if found is None or not found.in_flight:
        raise RotationError(
            f"no rotation of {show_key(key)} is in flight",
            key=key,
            hint="its status shows when it was rotated last",
        )
    return found
