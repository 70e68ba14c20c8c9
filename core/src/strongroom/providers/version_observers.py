"""Which version a value is, reported beside the value, so that nobody need ask for the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from strongroom.providers.metadata import SecretVersion

__all__ = ["VersionObserver", "observing_versions", "report_version"]

VersionObserver: TypeAlias = "Callable[[str, SecretVersion, int], object]"
_observer: ContextVar[VersionObserver | None] = ContextVar("strongroom_version_observer", default=None)


@contextmanager
def observing_versions(observer: VersionObserver | None) -> Iterator[None]:
    """Call `observer` with what providers report, for the block and the threads that it starts.

    None switches an outer observer off: for a provider that is asked in another one's place.
    """
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def report_version(value: str, version: SecretVersion, place: int) -> None:
    """Report which version a value is that was just read; for providers that know it by then.

    Args:
        value: What `get_secret` is about to return.
        version: The version, as `list_versions` shows it.
        place: Its place among all versions of the secret, also those that were dropped; the first is 1.
    """
    observer = _observer.get()
    if observer is not None:
        observer(value, version, place)
