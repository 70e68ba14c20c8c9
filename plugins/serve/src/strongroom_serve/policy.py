"""The keys that a client may use: patterns, built once into a tree that is asked at each request.

`*` stands for any characters but `/`, also none, within a segment; `**` is a whole segment and stands for one
or more segments. Case counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

__all__ = ["KeyRules", "Patterns"]

_REMEMBERED = 4096


class _Node:
    """A node of the tree: the patterns that agree up to here."""

    __slots__ = ("deep", "ends", "globs", "star", "words")

    def __init__(self) -> None:
        self.ends = False
        self.words: dict[str, _Node] = {}
        self.globs: dict[tuple[int, int], dict[tuple[str, str], list[tuple[tuple[str, ...], _Node]]]] = {}
        """Segments with `*`: by the lengths of the text before and after it, then by that text itself."""
        self.star: _Node | None = None
        """What follows a segment that is `*` alone, which is most common, and fits every segment."""
        self.deep: _Node | None = None
        """What follows `**`."""


class Patterns:
    """A set of patterns; the time of `match` grows with the length of the key, hardly with their number."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._root = _Node()
        for pattern in patterns:
            self._add(pattern)

    def _add(self, pattern: str) -> None:
        node = self._root
        for segment in pattern.split("/"):
            node = _child(node, segment)
        node.ends = True

    def match(self, key: str) -> bool:
        """Return whether a pattern matches the whole `key`."""
        states = [self._root]
        deep: list[_Node] = []  # those behind a `**` that has begun: it may go on
        for segment in key.split("/"):
            reached = [*deep]
            for node in states:
                word = node.words.get(segment)
                if word is not None:
                    reached.append(word)
                if node.star is not None:
                    reached.append(node.star)
                if node.globs:
                    reached += _globs(node, segment)
                below = node.deep
                if below is not None and below not in deep:
                    deep.append(below)
                    reached.append(below)
            if not reached:
                return False
            states = reached
        for node in states:  # noqa: SIM110  # few, and `any` takes longer
            if node.ends:
                return True
        return False


def _child(node: _Node, segment: str) -> _Node:
    if segment == "**":
        if node.deep is None:
            node.deep = _Node()
        return node.deep
    if segment == "*":
        if node.star is None:
            node.star = _Node()
        return node.star
    if "*" not in segment:
        return node.words.setdefault(segment, _Node())
    before, *middle, behind = segment.split("*")
    parts = tuple(part for part in middle if part)
    same = node.globs.setdefault((len(before), len(behind)), {}).setdefault((before, behind), [])
    for known, child in same:
        if known == parts:
            return child
    child = _Node()
    same.append((parts, child))
    return child


def _globs(node: _Node, segment: str) -> Iterable[_Node]:
    length = len(segment)
    for (before, behind), texts in node.globs.items():
        if before + behind > length:
            continue
        same = texts.get((segment[:before], segment[length - behind :]))
        for parts, child in same or ():
            if not parts or _in_order(parts, segment, before, length - behind):
                yield child


def _in_order(parts: tuple[str, ...], segment: str, start: int, end: int) -> bool:
    """Return whether `parts` are in the segment in this order: the first place of each is the best one."""
    for part in parts:
        at = segment.find(part, start, end)
        if at < 0:
            return False
        start = at + len(part)
    return True


class KeyRules:
    """The keys that one client may use: those in `allow` that are not in `deny`."""

    def __init__(self, allow: Iterable[str], deny: Iterable[str]) -> None:
        self.allow = tuple(allow)
        allowed, denied = Patterns(self.allow), Patterns(deny)

        @lru_cache(maxsize=_REMEMBERED)
        def permits(key: str) -> bool:
            return allowed.match(key) and not denied.match(key)

        self.permits = permits
        self._allowed, self._denied = allowed, denied

    def permitted(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield those of many keys that the client may use; unlike `permits`, it caches no answers."""
        for key in keys:
            if self._allowed.match(key) and not self._denied.match(key):
                yield key
