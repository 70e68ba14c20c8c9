"""Rotators: they change a secret in the system that accepts it.

A rotator keeps nothing open between its calls: it may be called by another process, after a crash, or by a
thread of a process that has forked meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from strongroom.errors import RotationError, UnsupportedOperationError, ValidationError, show_key
from strongroom.rotation.redaction import value_of

__all__ = [
    "DeferredRotator",
    "Rehearser",
    "Retirer",
    "RotationStep",
    "Rotator",
    "ValueComposer",
    "able",
    "current_step",
]


@runtime_checkable
class Rotator(Protocol):
    """Changes a secret in the system that accepts it.

    Both methods raise if they fail, with a message that may contain the values: they are masked.
    """

    def apply(self, key: str, old: str, new: str) -> object:
        """Make the target system accept `new`; the two are swapped when a rotation is undone.

        It is called again after a crash, with the same values: a second call must do no harm.
        """

    def verify(self, key: str, new: str) -> object:
        """Raise, or return False, if the target system does not accept `new`."""


@runtime_checkable
class ValueComposer(Protocol):
    """A rotator that makes the new value from the old one, such as a JSON object with another password."""

    def compose(self, key: str, old: str, new: str) -> str:
        """Return the new value.

        Args:
            key: The secret.
            old: The value that readers get.
            new: What was generated; or a whole new value, which is returned as it is if it fits.

        Raises:
            ValidationError: `old` or `new` does not fit what the rotator rotates.
        """


@runtime_checkable
class Retirer(Protocol):
    """A rotator after whose `apply` the old value still works, until it is removed."""

    def retire(self, key: str, stale: str, current: str) -> object:
        """Make the target system refuse `stale`, and leave `current` as it is; a second call is harmless."""


@runtime_checkable
class Rehearser(Protocol):
    """A rotator that can try all of its steps on something temporary."""

    def rehearsal(self, key: str, old: str) -> AbstractContextManager[tuple[Rotator, str]]:
        """Return a context with a rotator of a temporary user, and that user's secret in the form of `old`.

        At the end of the block nothing of it is left, even after an error.
        """


class RotationStep(NamedTuple):
    """The step that a rotator is called for."""

    id: str
    """The same if the step is repeated, and different for every other step."""
    name: Literal["apply", "verify", "rollback", "retire"]
    """`rollback` is an `apply` that puts the previous value back."""
    old: str | None
    """The value that `new` replaces; None if it no longer exists."""
    repeated: bool = True
    """Whether it may have been done before; False only for the first `apply` of a rotation."""

    def __repr__(self) -> str:
        return f"<RotationStep {self.name} {self.id}>"


_step: ContextVar[RotationStep | None] = ContextVar("strongroom_rotation_step", default=None)


def current_step() -> RotationStep | None:
    """Return the step that this call of `apply` or `verify` is for; None outside of a rotation."""
    return _step.get()


@contextmanager
def stepping(step: RotationStep) -> Iterator[None]:
    """Let `current_step` return `step` within the block."""
    token = _step.set(step)
    try:
        yield
    finally:
        _step.reset(token)


def able(rotator: object, protocol: Any) -> Any:
    """Return `rotator`, made if it is deferred, if it has the methods of `protocol`; else None."""
    made = rotator.made() if isinstance(rotator, DeferredRotator) else rotator
    return made if isinstance(made, protocol) else None


class DeferredRotator:
    """A rotator that is made at its first use: looking at a rotation must not need its credentials.

    Args:
        make: Makes it.
    """

    def __init__(self, make: Callable[[], Rotator]) -> None:
        self._make = make
        self._made: Rotator | None = None

    def made(self) -> Rotator:
        """Return the rotator."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def apply(self, key: str, old: str, new: str) -> object:
        """Call the rotator's `apply`."""
        return self.made().apply(key, old, new)

    def verify(self, key: str, new: str) -> object:
        """Call the rotator's `verify`."""
        return self.made().verify(key, new)


# --- rehearsal ---


def rehearse(
    rotator: Rotator, key: str, old: str, make: Callable[[str], str], check: Callable[[str], object]
) -> None:
    """Let `rotator` do all of its steps on a temporary user, forward and back.

    Args:
        rotator: The rotator.
        key: The secret.
        old: Its value, for its form.
        make: Generates a new value for an old one, as the rotation does.
        check: Raises if a new value must not be stored.

    Raises:
        UnsupportedOperationError: The rotator has no rehearsal.
        Exception: Whatever a step raises; nothing is left of it.
    """
    rehearser: Rehearser | None = able(rotator, Rehearser)
    if rehearser is None:
        raise UnsupportedOperationError(
            f"the rotator of {show_key(key)} has nothing to rehearse on", key=key, hint="rotate a test secret"
        )
    with rehearser.rehearsal(key, old) as (throwaway, first):
        retirer: Retirer | None = able(throwaway, Retirer)
        second = make_for(throwaway, key, first, make)
        check(second)
        for before, after in ((first, second), (second, first)):
            throwaway.apply(key, before, after)
            _verified(throwaway, key, after)
            if retirer is not None:
                _verified(throwaway, key, before)
                retirer.retire(key, before, after)
                _verified(throwaway, key, after)


def make_for(rotator: object, key: str, old: str, make: Callable[[str], str]) -> str:
    """Return the new value that `make` returns for `old`, in the form that `rotator` needs.

    Raises:
        RotationError: `compose` failed, or returned no other text. The error holds no value.
    """
    generated = make(old)
    composer: ValueComposer | None = able(rotator, ValueComposer)
    if composer is None:
        return generated
    who = f"rotator {type(composer).__name__}"
    values = (old, generated)
    composed: object = value_of(lambda: composer.compose(key, *values), composer, who, key, values)
    if isinstance(composed, str) and (composed != old or generated == old):
        return composed
    what = "the old value" if isinstance(composed, str) else f"a {type(composed).__name__}, not text"
    raise RotationError(f"the rotation of {show_key(key)} did not begin: its {who} returned {what}", key=key)


def _verified(rotator: Rotator, key: str, value: str) -> None:
    if rotator.verify(key, value) is False:
        raise ValidationError(f"the rehearsal for {show_key(key)}: verify returned False", key=key)
