"""Which version a value is, told beside it: who numbers versions then need not ask for their list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from strongroom.providers.metadata import SecretVersion

__all__ = ["Hearer", "hearing_versions", "tell_version"]

Hearer: TypeAlias = "Callable[[str, SecretVersion, int], object]"
_hearer: ContextVar[Hearer | None] = ContextVar("strongroom_hears_versions", default=None)


@contextmanager
def hearing_versions(hearer: Hearer | None) -> Iterator[None]:
    """Let `hearer` be called with what providers tell, for the block and the threads that it starts.

    None lets nobody hear: of a provider that is asked in another's place.
    """
    token = _hearer.set(hearer)
    try:
        yield
    finally:
        _hearer.reset(token)


def tell_version(value: str, version: SecretVersion, place: int) -> None:
    """Say of a value that was just read which version it is; for providers that know it by then.

    Args:
        value: What `get_secret` is about to return.
        version: The version, as `list_versions` shows it.
        place: Its place among all versions of the secret, also those that were dropped; the first is 1.
    """
    hearer = _hearer.get()
    if hearer is not None:
        hearer(value, version, place)
