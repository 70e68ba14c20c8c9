"""Rotation on a real backend: processes that are killed at every step, and many that begin at once.

For plugin authors. Both fork: call them from a small program of their own, not from pytest's process:

    def make():
        return AcmeSecretProvider(...)

    print(kill_at_every_step(make, Path(sys.argv[1]), times=25))
"""

from __future__ import annotations

import itertools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from strongroom.errors import ConflictError, RotationError, StrongroomError
from strongroom.providers import CAPABILITIES, BaseProvider, Closeable, StagedWriter, VersionReader
from strongroom.rotation import SecretRotation
from strongroom.testing.deaths import Death, was_killed

__all__ = ["begin_at_once", "kill_at_every_step"]

KEY = "database/password"
_PATIENCE_SECONDS = 60.0


def kill_at_every_step(
    make: Callable[[], Any], folder: Path, *, times: int = 1, every: int = 1, lock: Any = None
) -> int:
    """Let one process rotate and be killed before or after one of its requests, and let another one resume.

    Each time, the secret has one current value afterwards, the one that the target system has, no pending
    version and no rotation in flight.

    Args:
        make: Makes a provider on the same backend each time.
        folder: An empty folder for the target system.
        times: How often each step is tried.
        every: Try only one of so many steps, if each takes long: 3 tries a third of them.
        lock: See `SecretRotation`.

    Returns:
        How many processes were killed.

    Raises:
        AssertionError: Something is wrong after a death.
    """
    killed = 0
    for round_number in range(times):
        for step, after in itertools.islice(_steps(), 0, None, every):
            value = f"value {round_number}.{step}.{after}"
            with make() as provider:
                old = f"before {value}"
                provider.set_secret(KEY, old)
                target = folder / "target"
                target.write_text(old)
            if not _dies(make, target, value, step, after=after, lock=lock):
                break
            killed += 1
            with make() as provider:
                _check(provider, target, {old, value}, lock)
    return killed


def begin_at_once(
    make: Callable[[], Any], folder: Path, *, processes: int = 8, lock: Any = None
) -> list[str]:
    """Rotate one key in many processes at once; the winner continues only when all have tried.

    Args:
        make: Makes a provider on the same backend each time.
        folder: An empty folder for what the processes tell each other.
        processes: How many.
        lock: See `SecretRotation`.

    Returns:
        The outcomes of all processes, sorted; an outcome is a state, or the class of an error.

    Raises:
        AssertionError: A process died without a result; its error is on its standard error.
    """
    with make() as provider:
        provider.set_secret(KEY, "before")
    for number in range(processes):
        if os.fork() == 0:
            _try_once(make, folder, number, processes, lock)
    statuses = [os.wait()[1] for _ in range(processes)]
    ended = sorted(path.read_text() for path in folder.glob("ended-*"))
    assert not any(statuses), f"processes died: {statuses}, and the others ended with {ended}"
    return ended


def _steps() -> Iterator[tuple[int, bool]]:
    return ((step, after) for step in itertools.count(1) for after in (False, True))


def _dies(make: Callable[[], Any], target: Path, value: str, step: int, *, after: bool, lock: Any) -> bool:
    """Rotate in a process of its own; return whether it was killed, and not already done."""

    def rotate() -> None:
        provider = _mortal(make(), Death(step, after=after))
        rotation = SecretRotation(provider, apply=lambda _key, _old, new: target.write_text(new), lock=lock)
        rotation.rotate(KEY, value)

    return was_killed(rotate)


def _check(provider: Any, target: Path, values: set[str], lock: Any) -> None:
    def apply(_key: str, _old: str, new: str) -> None:
        target.write_text(new)

    assert provider.get_secret(KEY) in values, "neither the old nor the new value is readable"
    rotation = SecretRotation(provider, apply=apply, lock=lock)
    try:
        rotation.resume(KEY)
    except RotationError as error:
        if "is in flight" not in error.message or "no rotation" not in error.message:
            raise
    assert provider.get_secret(KEY) == target.read_text(), "store and target system differ"
    assert rotation.status_of(KEY).state == "current", "something is in flight after all"
    if isinstance(provider, VersionReader):
        states = [one.state for one in provider.list_versions(KEY)]
        assert states.count("current") == 1, f"{states.count('current')} current versions"
        assert not isinstance(provider, StagedWriter) or "pending" not in states, "a pending one"


def _mortal(provider: Any, death: Death) -> Any:
    names = ["get_secret", "set_secret", "delete_secret", "list_secrets"]
    for protocol, methods in CAPABILITIES.items():
        if isinstance(provider, protocol) and protocol is not Closeable:
            names += methods

    def passed_on(name: str) -> Callable[..., Any]:
        method = death.counted(getattr(provider, name))
        return lambda _self, *args, **kwargs: method(*args, **kwargs)

    return type("Mortal", (BaseProvider,), {name: passed_on(name) for name in names})()


def _try_once(make: Callable[[], Any], folder: Path, number: int, processes: int, lock: Any) -> None:
    def wait_for(pattern: str, count: int) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while len(list(folder.glob(pattern))) < count and time.monotonic() < until:
            time.sleep(0.005)

    def apply(*_: str) -> None:
        wait_for("ended-*", processes - 1)

    code = 1
    try:
        with make() as provider:
            (folder / f"ready-{number}").touch()
            wait_for("ready-*", processes)
            try:
                outcome: str = (
                    SecretRotation(provider, apply=apply, lock=lock).rotate(KEY, f"new {number}").state
                )
            except StrongroomError as error:
                outcome = type(error).__name__
                if not isinstance(error, ConflictError):
                    traceback.print_exc()
            (folder / f"ended-{number}.part").write_text(outcome)
            (folder / f"ended-{number}.part").rename(folder / f"ended-{number}")
        code = 0
    except Exception:  # noqa: BLE001 - whatever it is, the one who waits for this process has to read it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
