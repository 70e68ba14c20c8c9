"""The record in the head of a secret, and how each operation changes it."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple, Self

__all__ = ["PENDING", "PREVIOUS", "Record", "Version"]

_FIELDS: Final = Struct(">QQQQIqqH")
_VERSION: Final = Struct(">QqB")
PENDING, PREVIOUS = 0, 1


class Version(NamedTuple):
    """A version that is kept: the number of its row, when it was written in microseconds, and its state."""

    number: int
    made: int
    state: int


class Record(NamedTuple):
    """What the sealed head of a secret holds; times are microseconds since 1970 in UTC.

    Attributes:
        key: The secret's key.
        number: The number of the last row. Each operation adds one, so that an older head does not fit.
        current: The row of the current version, 0 if there is none.
        deleted: The row of the version that was current when the secret was deleted, 0 if it was not.
        changed: The row of the operation that last changed what readers get.
        epoch: A random number of this record; a part of version ids, so that none is ever used twice.
        created, updated: When the secret got its first and its present value.
        versions: All versions that are kept, packed, oldest first.
    """

    key: str
    number: int = 0
    current: int = 0
    deleted: int = 0
    changed: int = 0
    epoch: int = 0
    created: int = 0
    updated: int = 0
    versions: bytes = b""

    def pack(self) -> bytes:
        key = self.key.encode()
        numbers = (self.number, self.current, self.deleted, self.changed, self.epoch)
        return _FIELDS.pack(*numbers, self.created, self.updated, len(key)) + key + self.versions

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the record that `pack` wrote."""
        number, current, deleted, changed, epoch, created, updated, length = _FIELDS.unpack_from(data)
        end = _FIELDS.size + length
        key = data[_FIELDS.size : end].decode()
        return cls(key, number, current, deleted, changed, epoch, created, updated, data[end:])

    @property
    def low(self) -> int:
        """The lowest number of a row that a read needs."""
        return self.current or self.number

    def kept(self) -> Iterator[Version]:
        """Yield the versions, oldest first."""
        return map(Version._make, _VERSION.iter_unpack(self.versions))

    def version_id(self, number: int) -> str:
        """Return the text by which callers know a version."""
        return f"{self.epoch:08x}-{number}"

    def find(self, version: str) -> Version | None:
        """Return the version that callers know as `version`."""
        epoch, _, number = version.partition("-")
        if epoch != f"{self.epoch:08x}" or not number.isascii() or not number.isdecimal():
            return None
        return next((one for one in self.kept() if str(one.number) == number), None)

    def written(self, now: int, keep: int, epoch: int) -> tuple[Self, tuple[int, ...]]:
        """Return the record with a new current version, and the rows that it no longer needs."""
        number = self.number + 1
        begun = self if self.number else self._replace(epoch=epoch)
        after = begun._replace(
            number=number,
            current=number,
            deleted=0,
            changed=number,
            created=self.created if self.current else now,
            updated=max(now, self.updated),
            versions=self.versions + _VERSION.pack(number, now, PREVIOUS),
        )
        return self._trimmed(after, keep)

    def staged(self, now: int, epoch: int) -> tuple[Self, tuple[int, ...]]:
        """Return the record with a version that is pending."""
        number = self.number + 1
        begun = self if self.number else self._replace(epoch=epoch)
        packed = self.versions + _VERSION.pack(number, now, PENDING)
        return begun._replace(number=number, versions=packed), self._marker()

    def promoted(self, version: Version, now: int, keep: int) -> tuple[Self, tuple[int, ...]]:
        """Return the record with a pending version made the current one."""
        packed = b"".join(
            _VERSION.pack(*(one._replace(state=PREVIOUS) if one.number == version.number else one))
            for one in self.kept()
        )
        after = self._replace(
            number=self.number + 1,
            current=version.number,
            deleted=0,
            changed=self.number + 1,
            created=self.created if self.current else now,
            updated=max(now, self.updated),
            versions=packed,
        )
        return self._trimmed(after, keep)

    def discarded(self, version: Version) -> tuple[Self, tuple[int, ...]]:
        """Return the record without a pending version."""
        after = self._replace(number=self.number + 1, versions=_without(self.versions, {version.number}))
        return after, (version.number, *self._marker())

    def removed(self, *, destroy: bool) -> tuple[Self, tuple[int, ...]]:
        """Return the record of a secret that was deleted; with `destroy` no version of it is kept.

        A pending version goes with it: it was to replace a value that is no longer wanted.
        """
        gone = {one.number for one in self.kept() if destroy or one.state == PENDING}
        after = self._replace(
            number=self.number + 1,
            current=0,
            deleted=0 if destroy else self.current,
            changed=self.number + 1 if self.current else self.changed,
            versions=_without(self.versions, gone),
        )
        return after, (*sorted(gone), *self._marker())

    def recovered(self, now: int) -> tuple[Self, tuple[int, ...]]:
        """Return the record of a deleted secret, with its last current version as the current one."""
        number = self.number + 1
        after = self._replace(
            number=number, current=self.deleted, deleted=0, changed=number, updated=max(now, self.updated)
        )
        return after, self._marker()

    def _marker(self) -> tuple[int, ...]:
        """Return the last row if it holds no version: it is dropped with the next operation."""
        end = len(self.versions) - _VERSION.size
        if not self.number or (end >= 0 and _VERSION.unpack_from(self.versions, end)[0] == self.number):
            return ()
        return (self.number,)

    def _trimmed(self, after: Self, keep: int) -> tuple[Self, tuple[int, ...]]:
        """Drop the oldest versions beyond `keep`, looking at no more of them than necessary."""
        packed, size, at = after.versions, _VERSION.size, 0
        spare = len(packed) // size - keep
        if spare <= 0:
            return after, self._marker()
        dropped, kept = [], []
        while spare and at < len(packed):
            number, _, state = _VERSION.unpack_from(packed, at)
            if state == PREVIOUS and number != after.current:
                dropped.append(number)
                spare -= 1
            else:
                kept.append(packed[at : at + size])
            at += size
        return after._replace(versions=b"".join(kept) + packed[at:]), (*dropped, *self._marker())


def _without(packed: bytes, numbers: set[int]) -> bytes:
    if not numbers:
        return packed
    return b"".join(
        _VERSION.pack(*fields) for fields in _VERSION.iter_unpack(packed) if fields[0] not in numbers
    )
