"""Whether of a description its version is enough: a watch that polls compares nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["describing_versions_alone", "version_is_enough"]

_alone = ContextVar("strongroom_version_is_enough", default=False)


@contextmanager
def describing_versions_alone() -> Iterator[None]:
    """Let providers leave out what takes a further request, for the block and the threads that it starts."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def version_is_enough() -> bool:
    """Tell a provider's `describe_secret` whether its caller uses only `version` of what it returns.

    Then tags and dates may be left out where they take a request of their own.
    """
    return _alone.get()
