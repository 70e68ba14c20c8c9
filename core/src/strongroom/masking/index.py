"""Finds any of many byte strings in linear time, and takes new ones at any moment.

Data is looked at as 32-bit numbers, four bytes each and none overlapping, which Python walks through at
the speed of C. A pattern of seven or more bytes holds a whole such number wherever it stands, and which
one it is depends only on where it stands modulo four: so four numbers for each pattern, at four
consecutive places of it, are enough to miss none. Where such a number turns up, the bytes around it
are compared. Shorter patterns need the data to be read at two or all four alignments.
`docs/decisions/0020-masking.md` has the measurements.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain
from operator import length_hint
from typing import Any

from strongroom.parallel import SingleEntryLock, Take, renew_after_fork

__all__ = ["Find", "Index"]

Find = tuple[int, int]
"""Where something begins and where it ends."""
Shape = tuple[int, int]
"""How far before its number a pattern begins, and how long it is."""
_GRAM = 4
_SHORT = 2 * _GRAM - 1  # the shortest pattern that holds an aligned gram wherever it stands
_FEW = 24  # up to so many short patterns, searching for each is faster than walking through all places
_PLACES_TRIED = 5
_COMMON = b"etaoinshrdlcum .-_/\"':=,\t\n0AEg="


class Index:
    """Byte strings that are looked for, each with a label. Safe to share between threads."""

    def __init__(self) -> None:
        self.labels: dict[bytes, Any] = {}
        self.longest = 0
        self._shapes: dict[int, tuple[Shape, ...]] = {}
        # What is looked for at each of the four alignments, and the short patterns while they are few.
        self._grams: tuple[set[int], ...] = tuple(set() for _ in range(_GRAM))
        self._short: tuple[bytes, ...] = ()
        self._few = True
        self._starts: set[bytes] = set()
        self._ordered: list[bytes] | None = []
        self._interned: dict[tuple[Shape, ...], tuple[Shape, ...]] = {}
        self._late: tuple[bytes, ...] = ()
        self._begin_again()
        renew_after_fork(self, Index._begin_again, rest=Index._rest)

    def _begin_again(self) -> None:
        self._lock = SingleEntryLock("the index of masked values")

    def _rest(self, take: Take) -> None:
        take(self._lock)  # a child must not know half of a pattern

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, pattern: bytes, label: Any = None) -> None:
        """Look for `pattern`, of 4 bytes or more, from now on; the first label of a pattern stays."""
        if self._lock.is_mine():
            # A signal handler in the middle of another pattern: searched for by itself, from now on.
            if pattern not in self.labels:
                self.labels[pattern] = label
                self.longest = max(self.longest, len(pattern))
                self._starts.add(pattern[:_GRAM])
                self._ordered = None
                self._late += (pattern,)
            return
        with self._lock:
            if pattern in self.labels:
                return
            self.labels[pattern] = label
            self.longest = max(self.longest, len(pattern))
            self._starts.add(pattern[:_GRAM])
            self._ordered = None
            if len(pattern) >= _SHORT or not self._few:
                self._register(pattern)
                return
            self._short += (pattern,)
            if len(self._short) > _FEW:
                for short in self._short:
                    self._register(short)
                self._few, self._short = False, ()

    def finds(self, data: bytes) -> list[Find]:
        """Return every find, in order of its beginning; they may overlap."""
        found = [
            find
            for alignment, grams in enumerate(self._grams)
            if grams
            for at, number in _met(grams, data, alignment)
            for find in self._checked(data, at, self._shapes[number])
        ]
        for pattern in (*self._short, *self._late):
            at = data.find(pattern)
            while at >= 0:
                found.append((at, at + len(pattern)))
                at = data.find(pattern, at + 1)
        found.sort()
        return found

    def undecided(self, data: bytes) -> int:
        """Return where the tail begins that more data could turn into a find."""
        end = len(data)
        first = max(0, end - self.longest + 1)
        places: list[int] = []
        whole = end - _GRAM + 1
        if whole > first:
            starts = self._starts
            places = [at for at in range(first, whole) if data[at : at + _GRAM] in starts]
        for at in chain(places, range(max(first, whole, 0), end)):
            if self._begins_one(data[at:]):
                return at
        return end

    def _begins_one(self, tail: bytes) -> bool:
        ordered = self._ordered
        if ordered is None:
            with self._lock:
                ordered = self._ordered = sorted(self.labels)
        # In sorted order, patterns that begin with the tail stand right behind it.
        place = bisect_right(ordered, tail)
        return place < len(ordered) and ordered[place].startswith(tail)

    def _checked(self, data: bytes, at: int, shapes: tuple[Shape, ...]) -> Iterator[Find]:
        for offset, length in shapes:
            start = at - offset
            end = start + length
            if start >= 0 and end <= len(data) and data[start:end] in self.labels:
                yield start, end

    def _register(self, pattern: bytes) -> None:
        # How many numbers a pattern holds at places that follow each other tells how often to look.
        places = min(len(pattern) - _GRAM + 1, _GRAM)
        places = places if places != 3 else 2  # noqa: PLR2004  # alignments come in powers of two
        first = self._best_place(pattern) if places == _GRAM else 0
        for offset in range(first, first + places):
            gram, shape = _number(pattern, offset), (offset, len(pattern))
            shapes = self._shapes.get(gram, ())
            if shape not in shapes:
                wider = (*shapes, shape)
                # Few distinct ones exist, so they are shared.
                self._shapes[gram] = self._interned.setdefault(wider, wider)
            for alignment in range(0, _GRAM, places):
                self._grams[alignment].add(gram)

    def _best_place(self, pattern: bytes) -> int:
        """Return the place whose numbers are rarest: least like text, and least used by others."""
        last = len(pattern) - _SHORT
        step = max(1, last // _PLACES_TRIED)
        best: int = min((*range(0, last, step), last), key=lambda place: self._commonness(pattern, place))
        return best

    def _commonness(self, pattern: bytes, place: int) -> int:
        shapes = self._shapes
        shared: int = sum(
            len(shapes.get(_number(pattern, offset), ())) for offset in range(place, place + _GRAM)
        )
        window = pattern[place : place + _SHORT]
        return 8 * shared - 4 * len(set(window)) - len(window.translate(None, _COMMON))


def _met(grams: set[int], data: bytes, alignment: int) -> Iterator[tuple[int, int]]:
    """Yield where one of `grams` stands at a place that is `alignment` modulo four, and which."""
    whole = (len(data) - alignment) // _GRAM * _GRAM
    if whole <= 0:
        return
    numbers = memoryview(data)[alignment : alignment + whole].cast("I").tolist()
    waiting = iter(numbers)
    # `isdisjoint` stops at the first that it meets, and the iterator knows how many are left.
    while not grams.isdisjoint(waiting):
        place = len(numbers) - length_hint(waiting) - 1
        yield place * _GRAM + alignment, numbers[place]


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + _GRAM], sys.byteorder)
