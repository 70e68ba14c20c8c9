"""What a cache remembers: entries by tenant and key; the least used leave first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from strongroom.errors import SecretNotFoundError

__all__ = ["Entries", "Entry", "TenantEntries"]

_NEVER: Final = float("-inf")
_SWEPT: Final = 2


class Entry:
    """A value, or the fact that there is none, with the times until which it may be given.

    The fast path looks only at `fresh_until`: past it the slow path decides. An entry that leaves
    loses its freshness before its value, so that a reader who reads in the opposite order sees either both
    or neither.
    """

    __slots__ = ("expires", "fresh_until", "key", "missing", "space", "used", "value", "version")

    def __init__(self, space: TenantEntries, key: str) -> None:
        self.space = space
        self.key = key
        self.value: str | None = None
        self.missing: SecretNotFoundError | None = None
        self.fresh_until = _NEVER
        self.expires = _NEVER
        self.used = False
        self.version: str | None = None

    def leave(self) -> None:
        """Forget the value: what left the cache must not stay in memory."""
        self.fresh_until = _NEVER
        self.expires = _NEVER
        self.value = None
        self.missing = None


class TenantEntries(dict[str, Entry]):
    """The entries of one tenant, or of none."""

    __slots__ = ("tenant",)

    def __init__(self, tenant: str | None) -> None:
        self.tenant = tenant


class Entries:
    """At most `most` entries. Reading `by_tenant` needs no lock; every method needs the cache's own.

    Room is made by the second-chance algorithm: in the order in which they came, entries leave that were not
    read since they were last looked at. It is nearly "least recently used", and costs a read one assignment.

    Args:
        most: Entries at most.
        gone_after: Seconds past its expiry that an entry may still be of use.
    """

    def __init__(self, most: int, gone_after: float) -> None:
        self.by_tenant: dict[str | None, TenantEntries] = {}
        self.evictions = 0
        self._most = most
        self._gone_after = gone_after
        self._count = 0
        self._queue: deque[Entry] = deque()

    def __len__(self) -> int:
        return self._count

    def find(self, tenant: str | None, key: str) -> Entry | None:
        """Return the entry of a key, whatever its age."""
        space = self.by_tenant.get(tenant)
        return None if space is None else space.get(key)

    def put(self, tenant: str | None, key: str, now: float) -> Entry:
        """Return a new entry for `key`, still without a value, instead of the old one."""
        self.drop(tenant, key)
        self._sweep(now)
        while self._count >= self._most:
            self._evict(now)
        space = self.by_tenant.get(tenant)  # only now: a space that becomes empty goes
        if space is None:
            space = self.by_tenant[tenant] = TenantEntries(tenant)
        entry = Entry(space, key)
        self._queue.append(entry)
        space[key] = entry
        self._count += 1  # without a call in between, in which a signal handler could raise
        return entry

    def drop(self, tenant: str | None, key: str) -> None:
        """Forget what is known of `key`."""
        entry = self.find(tenant, key)
        if entry is not None:
            self._remove(entry)

    def drop_where(self, tenant: str | None, leaves: Callable[[str], bool]) -> None:
        """Forget the keys of a tenant for which `leaves` returns True."""
        space = self.by_tenant.get(tenant)
        for entry in list(space.values()) if space is not None else ():
            if leaves(entry.key):
                self._remove(entry)

    def drop_all(self) -> None:
        """Forget everything, even if a change was cut short."""
        # The dictionaries themselves stay: readers hold on to `by_tenant`.
        try:
            for space in self.by_tenant.values():
                for entry in space.values():
                    entry.leave()
                space.clear()
            self._queue.clear()
            self._count = 0
        except BaseException:  # of a signal handler
            self._count = sum(map(len, self.by_tenant.values()))
            raise

    def expire_by(self, end: float) -> None:
        """Let nothing be fresh after `end`."""
        for space in self.by_tenant.values():
            for entry in space.values():
                entry.fresh_until = min(entry.fresh_until, end)
                entry.expires = min(entry.expires, end)

    def _alive(self) -> Iterator[Entry]:
        return (entry for entry in self._queue if entry.space.get(entry.key) is entry)

    def _remove(self, entry: Entry) -> None:
        entry.leave()
        del entry.space[entry.key]
        self._count -= 1  # as in `put`
        if not entry.space:
            self.by_tenant.pop(entry.space.tenant, None)
        if len(self._queue) > 2 * self._count + 64:
            # Entries that left before their turn are still in the queue.
            self._queue = deque(self._alive())

    def _sweep(self, now: float) -> None:
        """Look at the next few in the queue, so that what nobody asks for any more leaves in time."""
        for _ in range(min(_SWEPT, len(self._queue))):
            entry = self._queue.popleft()
            if entry.space.get(entry.key) is not entry:
                continue
            if now >= entry.expires + self._gone_after:
                self._remove(entry)
            else:
                self._queue.append(entry)

    def _evict(self, now: float) -> None:
        while True:
            entry = self._queue.popleft()
            if entry.space.get(entry.key) is not entry:
                continue
            if entry.used and now < entry.expires + self._gone_after:
                entry.used = False
                self._queue.append(entry)
                continue
            self._remove(entry)
            self.evictions += 1
            return
