"""A validated spec as plain data: what assembly needs, without YAML and without pydantic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from strongroom.plugins.factories import check_made, load_factory
from strongroom.runtime.frozen import NamedTuple, frozen, member
from strongroom.spec.found import FoundSpec
from strongroom.spec.secret_plan import Position, SecretPlan

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.spec.references import Reference

__all__ = [
    "ComponentPlan",
    "FallbackPlan",
    "Part",
    "PipelinePlan",
    "Plan",
    "Position",
    "RoutePlan",
    "SecretPlan",
    "find_cycles",
]


@frozen
class ComponentPlan:
    """One provider, middleware, hook or cipher.

    `options` are the factory's keyword arguments if nothing has to be looked up; otherwise it is None, and
    `prepare` returns them, given a function that reads `${secret:…}` references.
    """

    kind: str
    type: str
    path: str
    position: Position
    factory: Callable[..., Any] | str = member(shown=False)
    options: Mapping[str, Any] | None = member(default=None, shown=False)
    prepare: Callable[[Callable[[Reference], str]], Mapping[str, Any]] | None = member(
        default=None, shown=False
    )
    reads: tuple[str, ...] = ()
    """The pipelines that its `${secret:…}` references read."""
    read_keys: tuple[str, ...] = ()
    """The keys that these references read there."""
    environment: tuple[str, ...] = ()
    """The environment variables that its `${env:…}` references read."""
    key_files: tuple[str, ...] = ()
    """The files that `${file:}` references of its options for keys read."""
    public: frozenset[str] = frozenset()
    """The names of options that are not secrets."""
    address: frozenset[str] | None = None
    """The names of options that decide which secret is meant; None if its plugin does not say."""
    parts: frozenset[str] = frozenset()
    """The names of options that are components themselves, such as the second level of a cache."""

    def resolved(self, read_secret: Callable[[Reference], str] | None = None) -> Mapping[str, Any]:
        """Return the factory's keyword arguments, references filled in.

        Args:
            read_secret: Reads a `${secret:…}` reference; not needed if `reads` is empty.

        Raises:
            SpecError: A reference leads nowhere, or its text does not fit.
        """
        if self.prepare is None:
            return self.options or {}
        if read_secret is None:
            from strongroom.spec.references import no_secret

            read_secret = no_secret
        return self.prepare(read_secret)


class Part(NamedTuple):
    """A component inside another one's options, with its own options filled in; `make` makes it."""

    type: str
    factory: Callable[..., Any] | str
    options: Mapping[str, Any]
    public: frozenset[str]
    """The names of options that are not secrets."""
    decides: frozenset[str] | None = None
    """The names of options that decide which secret is meant, as its plugin says."""

    def make(self, kind: str) -> Any:
        """Return the component, which is of `kind`.

        Raises:
            PluginError: Its factory returned something else.
        """
        factory = self.factory
        if isinstance(factory, str):
            factory = load_factory(factory, self.type)
        return check_made(factory(**self.options), kind)

    def __repr__(self) -> str:
        return f"<Part {self.type}>"


@frozen
class FallbackPlan:
    """Pipelines tried in order for a read, and what makes it go on to the next."""

    pipelines: tuple[str, ...]
    when: frozenset[str]


@frozen
class PipelinePlan:
    """One pipeline: a provider or a fallback, the middleware around it, and its hooks."""

    name: str
    position: Position
    provider: ComponentPlan | None
    fallback: FallbackPlan | None
    middleware: tuple[ComponentPlan, ...] = ()
    hooks: tuple[ComponentPlan, ...] = ()

    def components(self) -> tuple[ComponentPlan, ...]:
        """Return all components of the pipeline."""
        provider = (self.provider,) if self.provider is not None else ()
        return (*provider, *self.middleware, *self.hooks)

    def needs(self) -> frozenset[str]:
        """Return the pipelines without which this one cannot be assembled."""
        read = {name for component in self.components() for name in component.reads}
        return frozenset(read | set(self.fallback.pipelines if self.fallback else ()))


@frozen
class RoutePlan:
    """Keys that begin with `prefix` go to `pipeline`."""

    prefix: str
    pipeline: str
    strip_prefix: bool = False


@frozen
class Plan:
    """A whole spec under one profile."""

    source: str
    base: str
    """The folder that paths in the spec are relative to, as text."""
    profile: str | None = None
    pipelines: Mapping[str, PipelinePlan] = member(default_factory=dict)
    default: str | None = None
    hooks: tuple[ComponentPlan, ...] = ()
    routes: tuple[RoutePlan, ...] = ()
    secrets: Mapping[str, SecretPlan] = member(default_factory=dict)
    rotation_lock: ComponentPlan | None = None
    rotators: Mapping[str, ComponentPlan] = member(default_factory=dict)
    """By the name of the declared secret."""
    serve: ComponentPlan | None = None
    origin: Literal["named", "found", "own"] = "named"
    """Whether the spec was named or found, or whether there is none: the user's own store."""
    closed: bool = False
    """Whether the spec was found, and is used because it is closed."""
    digest: str = ""
    """The SHA-256 of the spec's bytes; empty without a file."""

    @property
    def folder(self) -> Path:
        """The folder that paths in the spec are relative to."""
        from pathlib import Path  # not needed to read a secret

        return Path(self.base)

    def again(self) -> str | FoundSpec:
        """Return the argument with which the spec is read again, under the same conditions."""
        return FoundSpec(self.source) if self.origin == "found" else self.source

    def location(self) -> str:
        """Return the absolute path of the spec's file; without a file, the name of its source."""
        from pathlib import Path

        return str(Path(self.source).absolute()) if self.digest else self.source

    def used_by(self, pipeline: str) -> frozenset[str]:
        """Return `pipeline` and all that it needs, however far away."""
        users: set[str] = set()
        waiting = [pipeline]
        while waiting:
            name = waiting.pop()
            if name not in users and name in self.pipelines:
                users.add(name)
                waiting += self.pipelines[name].needs()
        return frozenset(users)

    def environment(self) -> frozenset[str]:
        """Return the environment variables that the spec reads: its credentials, mostly."""
        return frozenset(name for part in self.components() for name in part.environment)

    def own_keys(self) -> frozenset[str]:
        """Return the keys by which users name the secrets that the spec itself reads, by references."""
        read = {key for part in self.components() for key in part.read_keys}
        return frozenset(read | {one.prefix + key for one in self.routes if one.strip_prefix for key in read})

    def components(self) -> Iterator[ComponentPlan]:
        """Yield all components of the spec."""
        for pipeline in self.pipelines.values():
            yield from pipeline.components()
        yield from self.hooks
        yield from (part for part in (self.rotation_lock, self.serve) if part is not None)
        yield from self.rotators.values()


def find_cycles(needs: Mapping[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """Return a circle for each edge that closes one, in time linear in the number of edges."""
    trails: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in needs:
        if start in done:
            continue
        trail = [start]
        on_trail = {start}
        waiting = [iter(sorted(needs[start]))]
        while waiting:
            name = next(waiting[-1], None)
            if name is None:
                waiting.pop()
                left = trail.pop()
                on_trail.discard(left)
                done.add(left)
            elif name in on_trail:
                trails.append(tuple(trail[trail.index(name) :]))
            elif name in needs and name not in done:
                trail.append(name)
                on_trail.add(name)
                waiting.append(iter(sorted(needs[name])))
    return trails
