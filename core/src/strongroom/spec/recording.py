"""From a plan to the record of it, for `strongroom.spec.records`.

What cannot be written down exactly is not written down at all: the next process takes the whole way, too.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import annotated_types
from pydantic import BaseModel

from strongroom.plugins import Plugin, finder
from strongroom.plugins.installed import installed
from strongroom.spec import references
from strongroom.spec.closed import inside_of, openings
from strongroom.spec.document import Node
from strongroom.spec.options import InnerPart, parts_of, public_options
from strongroom.spec.plan import ComponentPlan, Plan
from strongroom.spec.records import (
    MAX_RECORD_BYTES,
    SpecBytes,
    owner_of,
    place_of,
    read_spec,
    seal,
    seal_key,
    state_of,
)
from strongroom.spec.secret_plan import SecretPlan

__all__ = ["ComponentNodes", "remember"]

ComponentNodes = Mapping[str, tuple[Plugin, Node]]
"""The path of each component with its plugin and its node."""

_MOST_PIECES: Final = 256
_MOST_RECORDS: Final = 512
_SAFE_PATTERN: Final = re.compile(r"[A-Za-z0-9_^$|?*+.()\[\]/:@=, {}-]*")
_CONSTANT: Final = (bool, int, float, str)
_NAMES: Final = frozenset({"name", "key", "type", "field"})
"""Members of a declaration that hold no value in whatever way."""
_MISSING: Final = object()
_KNOWN: Final = frozenset(
    {"source", "folder", "profile", "pipelines", "default", "hooks", "routes", "secrets", "rotation_lock",
     "rotators", "serve", "origin", "closed", "digest"}
)  # fmt: skip
"""Members of a plan that a record holds; a plan where another one is set is not written down."""
_SETTINGS: Final = frozenset({"extra", "hide_input_in_errors", "strict", "frozen", "title", "defer_build"})
"""Settings of a model that change no text."""
_KINDS: Final = {
    str: "text",
    bool: "boolean",
    int: "integer",
    float: "number",
    Path: "path",
    type(None): "none",
}
_SECTIONS: Final = "strongroom.spec.serve"
_OURS: Final = ("strongroom.spec", "strongroom.plugins", "strongroom.keys", "strongroom.generators")
_OTHERS: Final = frozenset({"builtins", "pydantic", "typing", "pathlib", "strongroom"})


class _UnwritableError(Exception):
    """Something in the plan cannot be written down exactly."""


def remember(plan: Plan, root: Node, components: ComponentNodes) -> None:
    """Keep what the spec came to for the next process, where that can be and there is a place for it.

    Args:
        plan: The plan.
        root: The nodes of the spec without a profile.
        components: Its components.
    """
    from strongroom.spec.found import FoundSpec

    spec = read_spec(FoundSpec(plan.source) if plan.origin == "found" else plan.source)
    # What was read and what is remembered by its name must be the same bytes, and nothing installed since.
    if spec is None or spec.digest() != plan.digest or finder.seen != installed():
        return
    place = place_of(spec, plan.profile)
    if place is None:
        return
    with suppress(_UnwritableError, OSError):
        body = _Writer(plan, spec, components).body(root)
        if len(body) < MAX_RECORD_BYTES:
            _keep(Path(place), body)


def _keep(place: Path, body: bytes) -> None:
    from strongroom.paths.atomic_write import write_atomically

    key = seal_key(make=True)
    if key is None:
        return
    whole = seal(key, str(place), body) + body
    with suppress(OSError):
        if place.read_bytes() == whole:
            return
    folder = place.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ages: list[tuple[int, str]] = []
    for old in folder.iterdir():
        with suppress(OSError):
            if old.name.startswith(owner_of(str(place))):
                old.unlink()  # a record a spec is enough; an older one is of no use to anybody
            else:
                ages.append((old.stat().st_mtime_ns, old.name))
    for _, name in sorted(ages)[:-_MOST_RECORDS]:
        with suppress(OSError):
            (folder / name).unlink()
    write_atomically(place, whole)


class _Writer:
    """Writes one plan down.

    Raises:
        _UnwritableError: Something in it cannot be.
    """

    def __init__(self, plan: Plan, spec: SpecBytes, components: ComponentNodes) -> None:
        self.plan = plan
        self.text = spec.data.decode("utf-8-sig")
        self.components = components
        self.lines = [0, *(at.end() for at in re.finditer("\r\n|[\n\r\x85\u2028\u2029]", self.text))]
        self.modules: dict[str, list[int]] = {}

    def body(self, root: Node) -> bytes:
        """Return what is written down."""
        bare = Plan(self.plan.source, self.plan.folder)
        if any(getattr(self.plan, name) != getattr(bare, name) for name in {*Plan.__match_args__} - _KNOWN):
            raise _UnwritableError
        plan, folder = self.plan, str(self.plan.folder)
        data: dict[str, Any] = {
            "open": any(True for _ in openings(root, Path(plan.source).name, folder)),
            "inside": sorted(inside_of(root, folder)),
            "default": plan.default,
            "pipelines": [
                {
                    "name": one.name,
                    "at": [one.position.line, one.position.column],
                    "provider": self.component(one.provider) if one.provider is not None else None,
                    "fallback": None
                    if one.fallback is None
                    else [list(one.fallback.pipelines), sorted(one.fallback.when)],
                    "middleware": [self.component(part) for part in one.middleware],
                    "hooks": [self.component(part) for part in one.hooks],
                }
                for one in plan.pipelines.values()
            ],
            "hooks": [self.component(part) for part in plan.hooks],
            "routes": [[one.prefix, one.pipeline, one.strip_prefix] for one in plan.routes],
            "lock": self.component(plan.rotation_lock) if plan.rotation_lock is not None else None,
            "serve": self.component(plan.serve) if plan.serve is not None else None,
            "rotators": {name: self.component(part) for name, part in plan.rotators.items()},
            "secrets": [self.secret(one) for one in plan.secrets.values()],
            "placeholders": self.placeholders(),
        }
        self.stat_modules(_OURS)
        data["modules"] = sorted(self.modules.items())
        return json.dumps(data, separators=(",", ":")).encode()

    def stat_modules(self, names: Sequence[str]) -> None:
        """Note the files of what is loaded of these modules and below them."""
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if path is not None and any(name == one or name.startswith(f"{one}.") for one in names):
                state = state_of(path)
                if state is None:
                    raise _UnwritableError
                self.modules[path] = state

    # --- what is declared ---

    def placeholders(self) -> list[list[list[int] | str]]:
        own = next(iter(self.plan.secrets.values())).placeholders if self.plan.secrets else ()
        return [self.pieces(one, 0) for one in own]

    def secret(self, secret: SecretPlan) -> dict[str, Any]:
        near = self.offset(secret.position.line, secret.position.column)
        members: dict[str, Any] = {}
        for name, value in secret._asdict().items():
            if name in {"position", "placeholders"} or value == SecretPlan._field_defaults.get(
                name, _MISSING
            ):
                continue
            members[name] = self.member(name, value, near)
        return {"at": [secret.position.line, secret.position.column], "members": members}

    def member(self, name: str, value: Any, near: int) -> list[Any]:
        """Return how a member of a declaration is written down."""
        return ["constant", value] if name in _NAMES else self.written_as(value, near)

    def written_as(self, value: Any, near: int) -> list[Any]:
        """Return how a member of a declaration is written down: all text by its place."""
        if isinstance(value, str):
            return ["text", self.pieces(value, near)]
        if isinstance(value, list | tuple):
            return [
                "list" if isinstance(value, list) else "tuple",
                [self.written_as(one, near) for one in value],
            ]
        if isinstance(value, Mapping):
            return ["mapping", {name: self.member(name, one, near) for name, one in value.items()}]
        if value is None or type(value) in _CONSTANT:
            return ["constant", value]
        raise _UnwritableError

    # --- components ---

    def component(self, plan: ComponentPlan) -> dict[str, Any]:
        if plan.path not in self.components:
            raise _UnwritableError
        plugin, node = self.components[plan.path]
        try:
            part = self.part(plugin, node)
        except _UnwritableError:  # its options are those of the whole way, for whoever needs them
            part = {**self.bare(plugin), "options": None}
        return {
            **part,
            "kind": plan.kind,
            "path": plan.path,
            "at": [plan.position.line, plan.position.column],
            "reads": list(plan.reads),
            "environment": list(plan.environment),
            "key_files": [str(path) for path in plan.key_files],
            "parts": sorted(plan.parts),
        }

    def part(self, plugin: Plugin, node: Node) -> dict[str, Any]:
        """Return a component's type, factory and options; of what has references, how they are filled in."""
        self.stat_modules(sorted(_packages(plugin.config, plugin)))
        inner = dict(parts_of(plugin, node))  # by its name in the spec, which may be an alias
        return {**self.bare(plugin), "options": self.options(plugin.config, node, inner)}

    def options(
        self, config: type[BaseModel], node: Node, inner: Mapping[str, InnerPart]
    ) -> dict[str, list[Any]]:
        """Return how the members of a model are written down."""
        values = _validated(config, node, {*inner})
        options: dict[str, Any] = {}
        for field, info in config.model_fields.items():
            name = info.alias or field
            child = node.mapping.get(name)
            if name in inner:
                found = finder.find(inner[name].kind, inner[name].type)
                options[name] = ["part", self.part(found, inner[name].node)]
            elif child is not None and child.value is not None and (own := _section(info.annotation)):
                options[name] = self.section(own, child)
            elif child is not None and any(references.has_reference(one.value) for _, one in child.scalars()):
                rule = _rule(config, field, info)
                options[name] = self.reference(child, rule)
            else:
                if values is None:
                    raise _UnwritableError
                options[name] = self.value(values[field], child)
        return options

    def section(self, config: type[BaseModel], node: Node) -> list[Any]:
        """Return how a model within the options is written down, or a list of them."""
        if isinstance(node.value, list):
            return ["list", [self.section(config, one) for one in node.items]]
        return ["members", self.options(config, node, {})]

    def bare(self, plugin: Plugin) -> dict[str, Any]:
        """Return what is written down of a component beside its options."""
        return {
            "type": plugin.name,
            "factory": _named(plugin.factory),
            "public": sorted(public_options(plugin)),
            "decides": None if plugin.address is None else sorted(plugin.address),
        }

    def value(self, value: Any, node: Node | None) -> list[Any]:
        """Return how an option's value is written down that has no reference; text only by its place."""
        if value is None or (type(value) in _CONSTANT and not isinstance(value, str)):
            return ["constant", value]
        if type(value) is str:
            return ["constant", value] if node is None else ["text", self.pieces(value, self.at(node))]
        if isinstance(value, Path):
            from strongroom.paths.user_home import expanded

            return ["path", os.path.normpath(self.plan.folder / expanded(value))]
        if type(value) in {list, tuple}:
            items = node.items if node is not None and len(node.items) == len(value) else [node] * len(value)
            kind = "list" if type(value) is list else "tuple"
            return [kind, [self.value(one, at) for one, at in zip(value, items, strict=True)]]
        if type(value) is dict and all(type(name) is str for name in value):
            below = node.mapping if node is not None else {}
            return ["mapping", {name: self.value(one, below.get(name)) for name, one in value.items()}]
        raise _UnwritableError

    def reference(self, node: Node, rule: dict[str, Any]) -> list[Any]:
        """Return how an option is written down that has references."""
        if isinstance(node.value, dict):
            inside = _inside(rule, "mapping")
            return ["mapping", {name: self.reference(one, inside) for name, one in node.mapping.items()}]
        if isinstance(node.value, list):
            kind = next(
                (one[0] for one in rule["kinds"] if isinstance(one, list) and one[0] != "mapping"), "list"
            )
            inside = _inside(rule, kind)
            return [kind, [self.reference(one, inside) for one in node.items]]
        if not references.has_reference(node.value):
            if isinstance(node.value, str) and "path" in rule["kinds"] and "text" not in rule["kinds"]:
                return self.value(Path(node.value), node)
            if "any" not in rule["kinds"] and not (isinstance(node.value, str) and "text" in rule["kinds"]):
                raise _UnwritableError
            plain = node.data()
            if isinstance(plain, str):
                return ["text", self.pieces(plain, self.at(node))]
            return ["constant", json.loads(json.dumps(plain))]  # a number may know how it was written
        scalar = {
            **rule,
            "kinds": [kind for kind in rule["kinds"] if isinstance(kind, str) and kind != "none"],
        }
        if not scalar["kinds"]:
            raise _UnwritableError
        text = str(node.value)
        return ["reference", self.pieces(text, self.at(node)), scalar, references.is_lone_reference(text)]

    # --- text by its place ---

    def at(self, node: Node) -> int:
        return self.offset(node.line, node.column)

    def offset(self, line: int, column: int) -> int:
        return self.lines[min(max(line - 1, 0), len(self.lines) - 1)] + max(column - 1, 0)

    def pieces(self, value: str, near: int) -> list[list[int] | str]:
        """Return places in the spec where, one after the other, the text of `value` stands."""
        pieces: list[list[int] | str] = []
        at = 0
        while at < len(value):
            if len(pieces) == _MOST_PIECES:
                raise _UnwritableError
            piece = next(
                (piece for piece in _candidates(value, at) if (start := self._find(piece, near)) >= 0), None
            )
            if piece is None and value[at] < " ":
                pieces.append(value[at])  # of an escape; no value is of these alone
                at += 1
                continue
            if piece is None:
                raise _UnwritableError
            start = self._find(piece, near)
            pieces.append([start, len(piece)])
            at += len(piece)
            near = start
        return pieces

    def _find(self, piece: str, near: int) -> int:
        start = self.text.find(piece, near)
        return start if start >= 0 else self.text.find(piece)


def _candidates(value: str, at: int) -> Iterator[str]:
    """Yield beginnings of what is left of `value`, the longest first, as they may stand in YAML."""
    yield value[at:]
    for end in "\n", "'", '"', "\\", " ":
        stop = value.find(end, at + 1)
        if stop > 0:
            yield value[at:stop]
    yield value[at]


def _validated(config: type[BaseModel], node: Node, inner: set[str]) -> dict[str, Any] | None:
    """Return the options without references as the model has them; None where it cannot tell."""
    options = {name: one for name, one in node.mapping.items() if name != "type" and name not in inner}
    open_ones = {
        name
        for name, one in options.items()
        if any(references.has_reference(scalar.value) for _, scalar in one.scalars())
    }
    data = {name: one.data() for name, one in options.items() if name not in open_ones}
    if any(one.validation_alias not in {None, one.alias} for one in config.model_fields.values()):
        raise _UnwritableError
    if not open_ones:
        model = config.model_validate_json(json.dumps({**data, **dict.fromkeys(inner)}), strict=True)
        return {name: getattr(model, name) for name in config.model_fields}
    return _one_by_one(config, data)


def _one_by_one(config: type[BaseModel], data: dict[str, Any]) -> dict[str, Any] | None:
    """Return the values of the members that are known, each as its own rules have it."""
    from pydantic import TypeAdapter

    if _unclear_validators(config) or config.__pydantic_decorators__.field_validators:
        return None
    values: dict[str, Any] = {}
    for field, info in config.model_fields.items():
        name = info.alias or field
        if name in data:
            annotated: Any = (
                typing.Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            )
            values[field] = TypeAdapter(annotated).validate_json(json.dumps(data[name]), strict=True)
        elif not info.is_required():
            values[field] = info.get_default(call_default_factory=True)
    return values


def _unclear_validators(config: type[BaseModel]) -> bool:
    """Tell whether a model has rules of its own that a reference could break or bend."""
    decorators = config.__pydantic_decorators__
    structural: frozenset[str] = getattr(config, "rules_of_structure", frozenset())
    own = config.model_post_init is not BaseModel.model_post_init or config.__init__ is not BaseModel.__init__
    return (
        own
        or bool({*decorators.model_validators, *decorators.root_validators} - structural)
        or bool(decorators.validators)
        or not _SETTINGS.issuperset(config.model_config)
    )


def _rule(config: type[BaseModel], name: str, info: Any) -> dict[str, Any]:
    """Return what text an option may hold, as `strongroom.spec.rules` reads it."""
    decorators = config.__pydantic_decorators__
    fields = {one for validator in decorators.field_validators.values() for one in validator.info.fields}
    if fields & {name, "*"} or _unclear_validators(config):
        raise _UnwritableError
    rule: dict[str, Any] = {"kinds": _kinds(info.annotation)}
    for one in info.metadata:
        rule |= _constraint(one)
    return rule


def _kinds(annotation: Any) -> list[Any]:  # noqa: PLR0911  # a table of cases
    """Return what may stand at an option: names of scalars, and lists and mappings of them."""
    if annotation is Any:
        return ["any"]
    if annotation in _KINDS:
        return [_KINDS[annotation]]
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return [kind for one in args for kind in _kinds(one)]
    if origin is Literal:
        return ["other"]
    if origin is typing.Annotated and typing.get_origin(args[0]) is list:
        return _kinds(args[0])  # what it demands is about the list, which no reference changes
    if origin is list and len(args) == 1:
        return [["list", _kinds(args[0])]]
    if origin is tuple and args[1:] == (...,):
        return [["tuple", _kinds(args[0])]]
    if origin in {dict, Mapping} and len(args) == 2 and args[0] is str:  # noqa: PLR2004  # names and values
        return [["mapping", _kinds(args[1])]]
    raise _UnwritableError


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a part of `serve:`, by itself or in a list; None for any other option.

    Models of plugins may do more with their members than have them.
    """
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel) and one.__module__ == _SECTIONS:
            return one
    return None


def _inside(rule: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the rule of what is in a list or mapping."""
    if "any" in rule["kinds"]:
        return {"kinds": ["any"]}
    found = [one[1] for one in rule["kinds"] if isinstance(one, list) and one[0] == kind]
    if len(found) != 1:
        raise _UnwritableError
    return {"kinds": found[0]}


def _constraint(constraint: Any) -> dict[str, Any]:
    """Return what an annotation demands.

    Raises:
        _UnwritableError: It demands more than the plain ones do.
    """
    known: list[tuple[type, str, str]] = [
        (annotated_types.MinLen, "min_length", "least"),
        (annotated_types.MaxLen, "max_length", "most"),
        (annotated_types.Ge, "ge", "ge"),
        (annotated_types.Gt, "gt", "gt"),
        (annotated_types.Le, "le", "le"),
        (annotated_types.Lt, "lt", "lt"),
    ]
    for kind, member, name in known:
        if type(constraint) is kind:
            return {name: getattr(constraint, member)}
    members = vars(constraint) if hasattr(constraint, "__dict__") else {}
    pattern = members.get("pattern")
    if set(members) == {"pattern"} and isinstance(pattern, str) and _SAFE_PATTERN.fullmatch(pattern):
        return {"pattern": pattern.replace("$", r"\Z")}
    raise _UnwritableError


def _named(factory: Callable[..., Any] | str) -> str:
    """Return the name that a factory is imported by."""
    if isinstance(factory, str):
        return factory
    name = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', '')}"
    module = sys.modules.get(name.partition(":")[0])
    if getattr(module, name.partition(":")[2], None) is not factory:
        raise _UnwritableError
    return name


def _packages(config: type[BaseModel], plugin: Plugin) -> set[str]:
    """Return the packages whose modules decide what the options come to."""
    names = {one.__module__ for one in config.__mro__}
    with suppress(TypeError, ValueError):
        names.add(inspect.getmodule(config).__name__)  # type: ignore[union-attr]  # suppressed
    factory = plugin.factory
    names.add(factory.partition(":")[0] if isinstance(factory, str) else str(factory.__module__))
    return {name.partition(".")[0] for name in names} - _OTHERS
