"""What a plugin brings: calls that move opaque bytes to and from a server that many hosts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from strongroom.deadlines import Deadline
from strongroom.providers.protocols import Closeable

__all__ = ["Change", "Found", "SealedBackend", "SealedLock", "StoreGoneError"]


class StoreGoneError(Exception):
    """The server has no store at this address: neither header nor tables."""


class Found(NamedTuple):
    """What the server stores of one secret.

    Attributes:
        head: The sealed head.
        rows: Number and body of the rows from `low` on, in order; bodies are empty if only heads were asked
            for.
    """

    head: bytes
    rows: Sequence[tuple[int, bytes]]


class Change(NamedTuple):
    """One secret's next state, which counts only if its head is still the one that was read.

    Attributes:
        name: The secret's name as the server knows it.
        before: The sealed head that was read; None if there must be none.
        head: The next sealed head.
        number: The number of the new row, one more than the last one.
        low: The lowest number of a row that a read needs.
        body: The new row.
        dropped: Numbers of rows that are no longer needed.
        visible: Whether it changes what readers get.
    """

    name: bytes
    before: bytes | None
    head: bytes
    number: int
    low: int
    body: bytes
    dropped: tuple[int, ...]
    visible: bool


class SealedLock(Protocol):
    """A lock, for one holder; the server ends it after its time."""

    def acquire(self, deadline: Deadline) -> int | None:
        """Return its fencing token, which is higher than all before; None while another holds it."""
        ...

    def release(self, deadline: Deadline) -> None:
        """Give it back, even if it was never acquired."""
        ...


class SealedBackend(Protocol):
    """The server. Each call ends before its deadline, and raises only errors of strongroom.

    Calls on a store that was never made raise `StoreGoneError`.
    """

    def header(self, deadline: Deadline) -> bytes:
        """Return the store's header."""
        ...

    def create(self, header: bytes, deadline: Deadline) -> bytes:
        """Make the store if there is none, and return the stored header, which another host may have made."""
        ...

    def replace_header(self, before: bytes, after: bytes, deadline: Deadline) -> bool:
        """Replace the header if it is still `before`; return whether it was."""
        ...

    def read(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        """Return head and rows of those of `names` that exist, all from one moment."""
        ...

    def heads(self, names: Sequence[bytes], deadline: Deadline) -> dict[bytes, Found]:
        """Return what `read` does, without the rows' bodies."""
        ...

    def row(self, name: bytes, number: int, deadline: Deadline) -> bytes | None:
        """Return the body of one row."""
        ...

    def scan(
        self, start: bytes, part: Callable[[], Deadline], after: bytes | None = None
    ) -> Iterator[list[tuple[bytes, Found]]]:
        """Yield names that begin with `start`, and what `heads` returns for them, page by page.

        Args:
            start: How names begin.
            part: Returns the deadline of one page.
            after: Names up to this one are left out.
        """
        ...

    def write(self, changes: Sequence[Change], deadline: Deadline) -> dict[bytes, bytes | None] | None:
        """Make all changes in one transaction, or none.

        Returns:
            None if they were made; else the present heads, by name, of those that differ from `before`.
        """
        ...

    def subscribe(
        self, changed: Callable[[list[tuple[bytes, bytes | None]] | None], object], deadline: Deadline
    ) -> Closeable:
        """Call `changed` with what each transaction from now on writes: names, and heads if they are known.

        Changes that are not visible may be left out. None means that some may have been missed.
        """
        ...

    def lock(self, name: bytes, ttl_seconds: float, deadline: Deadline) -> SealedLock:
        """Return the lock of a sealed name, which nobody holds yet."""
        ...

    def close(self) -> None:
        """Close connections; any call opens them again."""
        ...
