"""What a watch knows of the pipelines that it looks at: who answers, how it is asked, and what was there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from strongroom.cache.addresses import place_of
from strongroom.errors import InvalidKeyError, show_key
from strongroom.keys import cannot_start_key, check_prefix, is_reserved
from strongroom.middleware.base import Middleware
from strongroom.middleware.caching import CachingMiddleware
from strongroom.middleware.renaming import RenamingMiddleware
from strongroom.middleware.validation import ValidationMiddleware
from strongroom.pipeline import Pipeline
from strongroom.pipeline.fallback import FallbackProvider
from strongroom.providers import BatchDescriber, Closeable, Describer, SecretChange, Watchable, guard

__all__ = ["Mark", "Names", "WatchedGroup", "as_prefix", "group_of", "own_name"]

Mark = str | bytes
"""What a secret is compared by: its version, or a keyed hash of its value."""
Names = list[Callable[[str], str | None]]
"""What gives the caller's name of a stored one, the outermost middleware first."""


@dataclass(eq=False)
class WatchedGroup:
    """The watched secrets that one pipeline answers.

    Attributes:
        pipeline: Who answers them.
        owned: Returns whether a key is answered by it.
        chain: What is asked: past caches, rules for values, and hooks.
        exact: The keys that are watched by name.
        prefixes: What is listed; a key that begins with one is watched.
        listens: Whether a source can be subscribed to.
        pushes: Whether the sources tell of all changes by themselves, and none is polled.
        believed: Whether what it tells needs no second look.
        by_value: Whether secrets are compared by value, for want of versions.
        versions: Of those, what the source told last.
        marks: What is known of each secret that is there.
        doubted: Keys that were found changed before their source told so, which may still tell of older ones.
            With what it told last: a version, None where the secret was deleted, empty where it told nothing.
        known: Whether `marks` says it all: not before the first answer.
        rescan: Whether everything is to be compared.
        dirty: Keys to look at.
        round: The keys that are still to be asked for in this interval, where they are asked one by one.
        due: When the next poll is.
        pause: How long to wait after a failure.
        failing: The class of the error by which the source failed last time; empty where it did not.
        refused: The keys that could not be asked for last time, which was logged.
    """

    pipeline: Pipeline
    owned: Callable[[str], bool]
    chain: Any
    exact: dict[str, None] = field(default_factory=dict)
    prefixes: dict[str, None] = field(default_factory=dict)
    ways: list[tuple[Any, str, Names]] = field(default_factory=list)
    listens: bool = False
    pushes: bool = False
    believed: bool = False
    by_value: bool = False
    marks: dict[str, Mark] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    doubted: dict[str, str | None] = field(default_factory=dict)
    known: bool = False
    rescan: bool = True
    dirty: set[str] = field(default_factory=set)
    round: deque[str] = field(default_factory=deque)
    step: float = 0.0
    due: float = 0.0
    pause: float = 0.0
    failing: str = ""
    refused: set[str] = field(default_factory=set)
    subscriptions: list[Closeable] = field(default_factory=list)

    def names(self) -> list[str]:
        """Return what is watched, as it was given."""
        return [*self.exact, *(prefix or "/" for prefix in self.prefixes)]

    def watches(self, key: str) -> bool:
        if key in self.exact:
            return True
        return any(key.startswith(prefix) for prefix in self.prefixes) and self.owned(key)

    @property
    def batched(self) -> bool:
        return not self.by_value and isinstance(self.chain, BatchDescriber)

    def is_news(self, change: SecretChange) -> bool:
        """Take note of what a source told that is believed, and tell whether it is to be passed on."""
        key = change.key
        if is_reserved(key) or not self.watches(key):
            return False
        if change.kind == "set" and change.version is None:
            self.dirty.add(key)
            return False
        if key in self.doubted:
            version = change.version if change.kind == "set" else None
            if key in self.dirty or version != self.marks.get(key):
                self.doubted[key] = version
                self.dirty.add(key)
            else:
                del self.doubted[key]  # it has come to where the comparison was: what it tells next is newer
            return False
        if key in self.dirty:
            return False
        marks: dict[str, Any] = self.versions if self.by_value else self.marks
        if change.kind == "deleted":
            self.versions.pop(key, None)
            return self.marks.pop(key, None) is not None
        known, marks[key] = marks.get(key), change.version
        return known != change.version

    def take_over(
        self, marks: Mapping[str, Mark], keys: Iterable[str], owed: Container[str], now: datetime
    ) -> list[SecretChange]:
        """Take over the marks that were found of `keys`, and return what is other than before.

        Args:
            marks: Those of the keys that are there.
            keys: All that were asked for.
            owed: Keys of which a change is reported even if nothing was known before.
            now: When it was found.
        """
        changes = []
        for key in sorted(keys):
            before, after = self.marks.get(key), marks.get(key)
            if after is None:
                self.marks.pop(key, None)
            else:
                self.marks[key] = after
            if self.believed and not self.by_value:
                # What the source read before this was found, it may tell only now.
                if before != after:
                    self.doubted.setdefault(key, "")
                if key in self.doubted and self.doubted[key] == after:
                    del self.doubted[key]
            if before != after and (self.known or key in owed):
                version = after if isinstance(after, str) else None
                changes.append(SecretChange(key, "deleted" if after is None else "set", version, now))
        self.known = True
        return changes


def as_prefix(key: str) -> str | None:
    """Return the prefix that `key` stands for; None where it is a key."""
    if not isinstance(key, str):
        raise TypeError(f"a key is text, not {type(key).__name__}")
    if not key.endswith("/"):
        return None
    prefix = "" if key == "/" else key
    if cannot_start_key(check_prefix(prefix)):
        raise InvalidKeyError(key, f"no key begins with {show_key(key)}")
    return prefix


def group_of(pipeline: Pipeline, owned: Callable[[str], bool]) -> WatchedGroup:
    chain = _past_caches(pipeline.inner)
    ways = list(_ways(chain, []))
    fallback = len(ways) > 1  # what changes at one member may be hidden by another
    telling = [isinstance(provider, Watchable) for provider, *_ in ways]
    return WatchedGroup(
        pipeline,
        owned,
        chain,
        ways=ways,
        listens=any(telling),
        pushes=all(telling),
        believed=all(telling) and not fallback,
        by_value=fallback or not isinstance(chain, Describer),
    )


def _past_caches(node: Any) -> Any:
    """Return a chain without caches, rules for values and hooks, also inside of its members."""
    if isinstance(node, CachingMiddleware | ValidationMiddleware | Pipeline):
        return _past_caches(node.inner)
    if isinstance(node, FallbackProvider):
        first, *others = [_past_caches(member) for member in node.members]
        return FallbackProvider(first, others=others, when=node.when)
    if isinstance(node, Middleware):
        inner = node.inner if hasattr(node, "leases") else _past_caches(node.inner)
        return node if inner is node.inner else node.with_inner(inner)
    return guard(node)


def _ways(node: Any, names: Names) -> Iterator[tuple[Any, str, Names]]:
    """Yield each provider that may answer, its place, and what gives the caller's names of its keys."""
    if isinstance(node, FallbackProvider):
        for member in node.members:
            yield from _ways(member, names)
    elif isinstance(node, Middleware) and not hasattr(node, "leases"):
        own = [*names, node.own_names()] if isinstance(node, RenamingMiddleware) else names
        yield from _ways(node.inner, own)
    else:
        yield node, place_of(node), names


def own_name(names: Names, stored: str) -> str | None:
    key: str | None = stored
    for own_name in reversed(list(names)):
        key = own_name(key) if key is not None else None
    return key
