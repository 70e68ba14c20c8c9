"""Versions as Vault numbers them: the place of each in its secret's history, the oldest 1.

Backends have their own ids, and drop old versions. The version of each number that a client got is kept
here, so that a write with `cas` is checked against that very version.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from strongroom.providers import SecretVersion

__all__ = ["History", "Place", "VersionNumbers"]

Place: TypeAlias = tuple[str | None, str]
"""Tenant and key."""
_MOST_SECRETS = 16_384


class History:
    """The known versions of one secret, and their numbers.

    Attributes:
        ids: The number of each version that the backend has, by its id.
        last: The highest number that was given.
        are_places: Whether numbers are the places that the backend itself tells, as far as is known.
        value: The hash, in this process, of the value that `current` stands for; None where it is not known.
        current: The number of the current version; 0 where there is none.
        created: When the current version was made, in Vault's form.
        gone: The number that a deleted secret was shown with; 0 where it is not deleted.
        gone_at: Since when it is known to be deleted.
        store: The hash, in this process, of where the versions are; None where that is not known.
        reading: The reading of the spec in which that was looked at.
    """

    __slots__ = (
        "are_places",
        "created",
        "current",
        "gone",
        "gone_at",
        "ids",
        "last",
        "reading",
        "store",
        "value",
    )

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.last = self.current = self.gone = 0
        self.are_places = True
        self.value: int | None = None
        self.created = ""
        self.gone_at: datetime | None = None
        self.store: int | None = None
        self.reading: weakref.ref[Any] | None = None

    def belongs_to(self, store: tuple[str, str] | None, reading: Any) -> None:
        """Note where the versions are; of another store than before, no number stands for a version.

        Ids of two stores may be equal: a write with `cas` would replace a version that its client never saw.
        """
        if store is None:
            return
        hashed = hash(store)
        if self.store is not None and self.store != hashed:
            self.ids, self.are_places = {}, False
            self.value, self.current, self.created, self.gone, self.gone_at = None, 0, "", 0, None
        self.store, self.reading = hashed, weakref.ref(reading)

    def take(self, versions: Iterable[SecretVersion]) -> None:
        """Number `versions`, the oldest first: those that are known keep their number, new ones count on.

        Older ones than one that is known by `take_reported` alone get the numbers before it.
        """
        listed = [one.version for one in versions]
        if not self.ids.keys() & set(listed):
            self.are_places = False  # some may have been dropped before
        numbers = [self.ids.get(version) for version in listed]
        before: int | None = None
        for at in reversed(range(len(listed))):
            if numbers[at] is None and before is not None and before > 1 and before - 1 not in numbers:
                numbers[at] = before - 1
            before = numbers[at] if numbers[at] is not None else before
        ids: dict[str, int] = {}
        for version, number in zip(listed, numbers, strict=True):
            if number is None:
                self.last += 1
            ids[version] = self.last if number is None else number
        self.ids = ids

    def take_reported(self, version: SecretVersion, place: int) -> int | None:
        """Return the number of a version, the `place`th of all; None if the list has to be read."""
        number = self.ids.get(version.version)
        if number is not None:
            self.are_places = number == place
        elif place > self.last and self.are_places:
            number = self.last = self.ids[version.version] = place
        return number

    def id_of(self, number: int) -> str | None:
        """Return the id of a number; None if it is not known any more."""
        return next((version for version, one in self.ids.items() if one == number), None)

    def deleted(self) -> None:
        """Note that the secret is deleted, and which number shows it."""
        self.value, self.current = None, 0
        if not self.gone:
            # Clients judge it by the header `Date`, which may be up to a second behind.
            self.gone, self.gone_at = self.last or 1, datetime.now(UTC) - timedelta(seconds=1)
            self.last = self.gone


class VersionNumbers:
    """The histories of the secrets that were used last; others are numbered again."""

    def __init__(self) -> None:
        self._known: OrderedDict[Place, History] = OrderedDict()

    def get(self, place: Place) -> History | None:
        """Return the history of a secret, if it is known."""
        found = self._known.get(place)
        if found is not None:
            self._known.move_to_end(place)
        return found

    def of(self, place: Place) -> History:
        """Return the history of a secret, which is empty if it is not known."""
        history = self.get(place)
        if history is None:
            history = self._known[place] = History()
            if len(self._known) > _MOST_SECRETS:
                self._known.popitem(last=False)
        return history

    def __len__(self) -> int:
        return len(self._known)
