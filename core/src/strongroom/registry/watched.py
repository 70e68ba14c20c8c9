"""What a watch knows of each pipeline that it looks at: how it is asked, and which secrets it had."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from strongroom.cache.addresses import place_of
from strongroom.errors import InvalidKeyError, show_key
from strongroom.keys import cannot_start_key, check_prefix, is_reserved, not_text
from strongroom.middleware.base import Middleware
from strongroom.middleware.caching import CachingMiddleware
from strongroom.middleware.renaming import RenamingMiddleware
from strongroom.middleware.uncached import uncached
from strongroom.middleware.validation import ValidationMiddleware
from strongroom.pipeline import Pipeline
from strongroom.pipeline.fallback import FallbackProvider
from strongroom.providers import (
    BatchDescriber,
    Closeable,
    Describer,
    SecretChange,
    SecretMetadata,
    Watchable,
    innermost,
)

if TYPE_CHECKING:
    from strongroom.leases.calls import LeaseName

__all__ = ["Mark", "Names", "WatchedGroup", "as_prefix", "group_of", "own_name"]


class DatedVersion(NamedTuple):
    """A version of a backend that counts again when a secret is deleted and made again."""

    version: str
    updated_at: datetime | None


Mark = str | DatedVersion | bytes
"""What a secret is compared by: its version, or a keyed hash of its value."""
Names = list[Callable[[str], str | None]]
"""Functions from a stored name to the caller's, that of the outermost middleware first."""


@dataclass(eq=False)
class WatchedGroup:
    """The watched secrets that one pipeline answers.

    Attributes:
        pipeline: The pipeline.
        owned: Returns whether it answers a key.
        chain: What is asked: the pipeline without caches, rules for values, and hooks.
        exact: The keys that are watched by name.
        prefixes: The prefixes that are listed; a key that begins with one is watched.
        ways: Each provider that may answer, and the functions that give callers' names.
        places: Where each of them is, with the same functions.
        listens: Whether a source can be subscribed to.
        pushes: Whether the sources report all changes by themselves, so that none is polled.
        believed: Whether a report needs no second look.
        by_value: Whether secrets are compared by value, because there are no versions.
        counts_again: Whether a secret that was made again may have the version that it had before.
        marks: The mark of each secret that exists.
        versions: If secrets are compared by value: the version of each that the source reported last.
        doubted: Keys whose change was seen before their source reported it; it may still report older ones.
            Each has what was reported last: a version, None if it was deleted, empty before any report.
        known: Whether `marks` is complete: not before the first answer.
        rescan: Whether everything has to be compared.
        dirty: Keys to look at.
        round: If keys are asked one by one: those that are left in this interval.
        step: Seconds between two of them.
        due: When the next poll is.
        pause: Seconds to wait after a failure.
        failing: The class of the error of the last attempt; empty if it did not fail.
        refused: The keys that were refused last time, which was logged.
        subscriptions: Handles on the subscriptions to the sources.
    """

    pipeline: Pipeline
    owned: Callable[[str], bool]
    chain: Any
    exact: dict[str, None] = field(default_factory=dict)
    prefixes: dict[str, None] = field(default_factory=dict)
    ways: list[tuple[Any, Names]] = field(default_factory=list)
    places: list[tuple[str, Names]] = field(default_factory=list)
    listens: bool = False
    pushes: bool = False
    believed: bool = False
    by_value: bool = False
    counts_again: bool = False
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
        """Return the keys and prefixes that are watched."""
        return [*self.exact, *(prefix or "/" for prefix in self.prefixes)]

    def watches(self, key: str) -> bool:
        if key in self.exact:
            return True
        return any(key.startswith(prefix) for prefix in self.prefixes) and self.owned(key)

    def mark_of(self, metadata: SecretMetadata) -> Mark:
        """Return the mark of a secret that is compared by its version."""
        version = metadata.version
        return DatedVersion(version, metadata.updated_at) if self.counts_again else version

    @property
    def batched(self) -> bool:
        return not self.by_value and isinstance(self.chain, BatchDescriber)

    def is_news(self, change: SecretChange) -> bool:
        """Take note of a report of a source that is believed, and return whether to pass it on."""
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
                # The source has caught up with the comparison: its next reports are newer.
                del self.doubted[key]
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
        """Take over the new marks of `keys`, and return the changes from before.

        Args:
            marks: The marks of the keys that exist.
            keys: All keys that were asked for.
            owed: Keys whose change is reported even if nothing was known before.
            now: When they were asked for.
        """
        changes = []
        for key in sorted(keys):
            before, after = self.marks.get(key), marks.get(key)
            if after is None:
                self.marks.pop(key, None)
            else:
                self.marks[key] = after
            if self.believed and not self.by_value:
                # The source may still report what it noticed before these marks were read.
                if before != after:
                    self.doubted.setdefault(key, "")
                if key in self.doubted and self.doubted[key] == after:
                    del self.doubted[key]
            if before != after and (self.known or key in owed):
                version = _version_of(after)
                changes.append(SecretChange(key, "deleted" if after is None else "set", version, now))
        self.known = True
        return changes


class HeldLeases(Middleware):
    """Lists the leases of this process alone, not all that the backend could issue.

    A prefix watches what is there; to read all that could be issued would issue it, and keep it alive.
    """

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.leases = inner.leases
        self._listed: set[LeaseName] = set()
        """What was listed before: a forked child, which holds nothing yet, goes on with it."""

    def list_secrets(self, prefix: str = "") -> list[str]:
        self._listed |= self.leases.current().keys()
        tenant = self.leases.name_of("")[0]
        return [key for key in self.inner.list_secrets(prefix) if (tenant, key) in self._listed]


def as_prefix(key: str) -> str | None:
    """Return the prefix that `key` stands for; None if it is a key.

    Raises:
        InvalidKeyError: It is not text, or no key begins with it.
    """
    if not isinstance(key, str):
        raise not_text(key)
    if not key.endswith("/"):
        return None
    prefix = "" if key == "/" else key
    if cannot_start_key(check_prefix(prefix)):
        raise InvalidKeyError(key, f"no key begins with {show_key(key)}")
    return prefix


def group_of(pipeline: Pipeline, owned: Callable[[str], bool]) -> WatchedGroup:
    """Return what a watch keeps of a pipeline, of whose keys it watches those for which `owned` is true."""
    chain = _past_caches(pipeline.inner)
    ways = list(_ways(chain, []))
    fallback = len(ways) > 1  # another member may hide what changes at one
    watchable = [isinstance(provider, Watchable) for provider, _ in ways]
    return WatchedGroup(
        pipeline,
        owned,
        chain,
        ways=ways,
        places=list(_places(chain, [])),
        listens=any(watchable),
        pushes=all(watchable),
        believed=all(watchable) and not fallback,
        by_value=fallback or not isinstance(chain, Describer),
        counts_again=not any(watchable) and getattr(innermost(chain), "counts_again", False),
    )


def _version_of(mark: Mark | None) -> str | None:
    if isinstance(mark, DatedVersion):
        return mark.version
    return mark if isinstance(mark, str) else None


def _past_caches(node: Any) -> Any:
    """Return a chain without caches, rules for values and hooks, also inside of its members."""
    if isinstance(node, CachingMiddleware | ValidationMiddleware | Pipeline):
        return _past_caches(node.inner)
    if isinstance(node, FallbackProvider):
        first, *others = [_past_caches(member) for member in node.members]
        return FallbackProvider(first, others=others, when=node.when)
    if hasattr(node, "leases"):
        return HeldLeases(node)
    if isinstance(node, Middleware):
        inner = _past_caches(node.inner)
        return node if inner is node.inner else node.with_inner(inner)
    return uncached(node)


def _ways(node: Any, names: Names) -> Iterator[tuple[Any, Names]]:
    """Yield each provider that may answer, and the functions that give callers' names."""
    if isinstance(node, FallbackProvider):
        for member in node.members:
            yield from _ways(member, names)
    elif isinstance(node, Middleware) and not hasattr(node, "leases"):
        yield from _ways(node.inner, _with_own_names(node, names))
    else:
        yield node, names


def _places(node: Any, names: Names) -> Iterator[tuple[str, Names]]:
    """Yield where each provider is, looking through a third party's plain middleware, with the functions."""
    if isinstance(node, FallbackProvider):
        for member in node.members:
            yield from _places(member, names)
    elif hasattr(node, "inner") and not hasattr(node, "leases"):
        yield from _places(node.inner, _with_own_names(node, names))
    else:
        yield place_of(node), names


def _with_own_names(node: Any, names: Names) -> Names:
    return [*names, node.own_names()] if isinstance(node, RenamingMiddleware) else names


def own_name(names: Names, stored: str) -> str | None:
    """Return the caller's key for a stored one, through the layers of `names`; None if it has none."""
    key: str | None = stored
    for own_name in reversed(list(names)):
        key = own_name(key) if key is not None else None
    return key
