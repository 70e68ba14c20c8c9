"""From a record to the plan that it was made from."""

from __future__ import annotations

import os
from functools import cached_property, partial

from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.paths import plain_path
from strongroom.plugins.factories import takes_text_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from strongroom.spec.plan import ComponentPlan, PipelinePlan, Plan
    from strongroom.spec.records import Recalled
    from strongroom.spec.references import Reference
    from strongroom.spec.secret_plan import SecretPlan

    ReadSecret = Callable[[Reference], str]

__all__ = ["Members", "Options", "components", "environment", "plan_of", "recalled_secrets"]


def plan_of(recalled: Recalled, load: Callable[[], Plan], *, look_up: bool, only: str | None) -> Plan | None:
    """Return the plan of a record; None if only a full load can say what is wrong.

    Args:
        recalled: The record.
        load: Loads the plan in full, without looking anything up.
        look_up: Look up all references, except those of pipelines that `only` does not use.
        only: A pipeline.
    """
    from strongroom.spec.plan import Plan, RoutePlan

    data, spec = recalled.data, recalled.spec
    source = plain_path(spec.path)
    options = Options(recalled, load)
    try:
        closed = recalled.closed()
        plan = Plan(
            source=source,
            base=options.folder,
            profile=recalled.profile,
            pipelines={one["name"]: _pipeline(one, source, options) for one in data["pipelines"]},
            default=data["default"],
            hooks=_components(data["hooks"], source, options),
            routes=tuple(RoutePlan(*one) for one in data["routes"]),
            secrets=recalled_secrets(recalled),
            rotation_lock=next(
                iter(_components([data["lock"]] if data["lock"] else [], source, options)), None
            ),
            rotators={name: _component(one, source, options) for name, one in data["rotators"].items()},
            serve=None if data["serve"] is None else _component(data["serve"], source, options),
            origin="named" if spec.found is None else "found",
            closed=closed,
            digest=spec.digest(),
        )
        if only is not None and only not in plan.pipelines:
            return None
        if look_up:
            options.look_all_up(data, None if only is None else plan.used_by(only))
    except (StrongroomError, ValueError, LookupError, TypeError, AttributeError, OSError):
        return None
    return plan


def recalled_secrets(recalled: Recalled) -> dict[str, SecretPlan]:
    """Return the declared secrets of a record, by name."""
    from strongroom.spec.secret_plan import Position, SecretPlan

    source = plain_path(recalled.spec.path)
    placeholders = tuple(map(recalled.slice, recalled.data["placeholders"]))
    secrets: dict[str, SecretPlan] = {}
    for record in recalled.data["secrets"]:
        members = {name: plain(recalled, one) for name, one in record["members"].items()}
        position = Position(source, *record["at"])
        secrets[members["name"]] = SecretPlan(position=position, placeholders=placeholders, **members)
    return secrets


def plain(recalled: Recalled, written: list[Any]) -> Any:
    """Return a recorded value without references."""
    kind, value = written
    if kind == "text":
        return recalled.slice(value)
    if kind == "mapping":
        return {name: plain(recalled, one) for name, one in value.items()}
    if kind in {"list", "tuple"}:
        found = [plain(recalled, one) for one in value]
        return found if kind == "list" else tuple(found)
    return value


def _pipeline(record: dict[str, Any], source: str, options: Options) -> PipelinePlan:
    from strongroom.spec.plan import FallbackPlan, PipelinePlan
    from strongroom.spec.secret_plan import Position

    provider, fallback = record["provider"], record["fallback"]
    return PipelinePlan(
        name=record["name"],
        position=Position(source, *record["at"]),
        provider=_component(provider, source, options) if provider is not None else None,
        fallback=FallbackPlan(tuple(fallback[0]), frozenset(fallback[1])) if fallback is not None else None,
        middleware=_components(record["middleware"], source, options),
        hooks=_components(record["hooks"], source, options),
    )


def _components(
    records: Iterable[dict[str, Any]], source: str, options: Options
) -> tuple[ComponentPlan, ...]:
    return tuple([_component(one, source, options) for one in records])


def _component(record: dict[str, Any], source: str, options: Options) -> ComponentPlan:
    from strongroom.spec.plan import ComponentPlan
    from strongroom.spec.secret_plan import Position

    return ComponentPlan(
        kind=record["kind"],
        type=record["type"],
        path=record["path"],
        position=Position(source, *record["at"]),
        factory=record["factory"],
        prepare=partial(options.prepare, record),
        reads=tuple(record["reads"]),
        read_keys=tuple(record["read_keys"]),
        environment=tuple(record["environment"]),
        key_files=tuple([options.placed(name) for name in record["key_files"]]),
        public=frozenset(record["public"]),
        address=_decides(record),
        parts=frozenset(record["parts"]),
    )


def _decides(record: dict[str, Any]) -> frozenset[str] | None:
    return None if record["decides"] is None else frozenset(record["decides"])


class Members:
    """A part of `serve:` with the attributes of its model; its `repr` shows none of them."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self.__dict__.update(members)


class Options:
    """Fills references into recorded options, as `strongroom.spec.options` does.

    Args:
        recalled: The record.
        load: Loads the plan in full, which reports what does not fit.
    """

    def __init__(self, recalled: Recalled, load: Callable[[], Plan]) -> None:
        self._recalled = recalled
        self._load = load

    @cached_property
    def folder(self) -> str:
        """The folder that paths in the spec are relative to."""
        # The same as in `strongroom.spec.source`, whose import loads YAML.
        spec = self._recalled.spec
        is_link = os.path.islink(spec.path)
        return os.path.dirname(os.path.realpath(spec.path)) if is_link else plain_path(spec.folder)

    def placed(self, name: str) -> str:
        """Return the absolute path of `name` in the spec, with the user's folder instead of `~`."""
        from strongroom.paths.user_home import expanded_text

        return plain_path(os.path.join(self.folder, expanded_text(name)))

    def prepare(self, record: dict[str, Any], read_secret: ReadSecret) -> Mapping[str, Any]:
        """Return the arguments of a component's factory."""
        factory = record["factory"]

        def as_path(text: str) -> Any:
            # `pathlib` takes long, and not every factory needs it.
            return text if takes_text_paths(factory) else _as_path(text)

        try:
            return self.filled(record, read_secret, as_path)
        except _unfit():
            pass  # reported below
        for component in self._load().components():
            if component.path == record["path"] and component.prepare is not None:
                return component.prepare(read_secret)
        raise AssertionError(record["path"])  # the plan of the same bytes has the same components

    def filled(
        self, record: dict[str, Any], read_secret: ReadSecret, as_path: Callable[[str], Any] | None = None
    ) -> dict[str, Any]:
        """Return the arguments.

        Args:
            record: The component.
            read_secret: Reads a `${secret:}` reference.
            as_path: Makes a path from its text; by default a `Path`.

        Raises:
            UnfitError: The option does not take the text of a reference, or may not.
            UnresolvedError: A reference leads nowhere.
        """
        if record["options"] is None:
            raise _unfit()[0]
        fill = partial(self._value, read_secret, as_path or _as_path)
        return {name: fill(one) for name, one in record["options"].items()}

    def look_all_up(self, data: Mapping[str, Any], used: Collection[str] | None) -> None:
        """Fill in every reference once that is not read from a pipeline, and raise if that fails.

        Args:
            data: The record's data.
            used: The pipelines that count; None for all.
        """
        for component in components(data, used):
            if not component["reads"] and (component["options"] is None or has_references(component)):
                from strongroom.spec.references import no_secret

                self.filled(component, no_secret, str)

    def _value(  # noqa: PLR0911  # a table of cases
        self, read_secret: ReadSecret, as_path: Callable[[str], Any], written: list[Any]
    ) -> Any:
        fill = partial(self._value, read_secret, as_path)
        kind, value, *more = written
        if kind == "constant":
            return value
        if kind == "text":
            return self._recalled.slice(value)
        if kind == "path":
            return as_path(value)
        if kind == "list":
            return [fill(one) for one in value]
        if kind == "tuple":
            return tuple([fill(one) for one in value])
        if kind == "mapping":
            return {name: fill(one) for name, one in value.items()}
        if kind == "members":
            # In a model, texts do not know their references, and so they do not here.
            found = {name: fill(one) for name, one in value.items()}
            return Members({name: str(one) if isinstance(one, str) else one for name, one in found.items()})
        if kind == "reference":
            return self._brought_in(read_secret, as_path, value, *more)
        if kind == "part":
            from strongroom.spec.plan import Part

            inner = self.filled(value, read_secret)
            return Part(value["type"], value["factory"], inner, frozenset(value["public"]), _decides(value))
        raise _unfit()[0]

    def _brought_in(
        self, read_secret: ReadSecret, as_path: Callable[[str], Any], pieces: list[Any], *rule: Any
    ) -> Any:
        """Return the value of an option with references."""
        from strongroom.spec import references
        from strongroom.spec.rules import PathText, fitted

        sources = references.ReferenceSources(os.environ, self.folder, read_secret)
        written = self._recalled.slice(pieces)
        found = fitted(references.resolve(written, sources), *rule)
        if isinstance(found, PathText):
            return as_path(self._whole(found))
        return references.with_reference(found, written, sources) if isinstance(found, str) else found

    def _whole(self, text: str) -> str:
        try:
            return os.path.normpath(self.placed(text))
        except ConfigurationError:  # a `~` of a user without a home
            pass
        raise _unfit()[0]


def _as_path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def _unfit() -> tuple[type[ValueError], ...]:
    """Return the errors for what does not fit, `UnfitError` first, imported only if there are references."""
    from strongroom.spec.references import BadReferenceError, UnresolvedError
    from strongroom.spec.rules import UnfitError

    return UnfitError, UnresolvedError, BadReferenceError


def components(data: Mapping[str, Any], used: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
    """Yield the recorded components, of all pipelines or of those in `used`."""
    for pipeline in data["pipelines"]:
        if used is None or pipeline["name"] in used:
            if pipeline["provider"] is not None:
                yield pipeline["provider"]
            yield from pipeline["middleware"]
            yield from pipeline["hooks"]
    yield from data["hooks"]
    if used is None and data["lock"] is not None:
        yield data["lock"]


def environment(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the environment variables that the spec reads."""
    serve = [data["serve"]] if data["serve"] is not None else []
    for one in (*components(data), *serve, *data["rotators"].values()):
        yield from one["environment"]


def has_references(record: Mapping[str, Any]) -> bool:
    """Return whether any option of a recorded component has a reference."""
    waiting = list(record["options"].values())
    while waiting:
        kind, value, *_ = waiting.pop()
        if kind == "reference":
            return True
        if kind in {"list", "tuple"}:
            waiting += value
        elif kind in {"mapping", "members"}:
            waiting += value.values()
        elif kind == "part":
            waiting += value["options"].values()
    return False
