"""From a plan to its record, for `strongroom.spec.records`.

A plan that cannot be written down exactly is not recorded: the next process makes a full load, too.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from strongroom.plugins import Plugin, finder
from strongroom.plugins.installed import installed
from strongroom.spec import references
from strongroom.spec.closed import inside_of, openings
from strongroom.spec.document import Node
from strongroom.spec.model_rules import (
    UnwritableError,
    rule_inside,
    rule_of,
    section_model,
    values_without_references,
)
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
    text_of,
)
from strongroom.spec.secret_plan import SecretPlan

__all__ = ["ComponentNodes", "remember"]

ComponentNodes = Mapping[str, tuple[Plugin, Node]]
"""Plugin and node of each component, by its path."""

_MOST_PIECES: Final = 256
_MOST_RECORDS: Final = 512
_CONSTANT: Final = (bool, int, float, str)
_NAMES: Final = frozenset({"name", "key", "type", "field"})
"""Members of a declaration that never hold a value."""
_MISSING: Final = object()
_KNOWN: Final = frozenset(
    {"source", "base", "profile", "pipelines", "default", "hooks", "routes", "secrets", "rotation_lock",
     "rotators", "serve", "origin", "closed", "digest"}
)  # fmt: skip
"""Members of a plan that a record holds; a plan with any other member set is not recorded."""
_OURS: Final = ("strongroom.spec", "strongroom.plugins", "strongroom.keys", "strongroom.generators")
_OTHERS: Final = frozenset({"builtins", "pydantic", "typing", "pathlib", "strongroom"})


def remember(plan: Plan, root: Node, components: ComponentNodes) -> None:
    """Keep the plan of a spec for the next process, if it can be recorded and there is a place for it.

    Args:
        plan: The plan.
        root: The nodes of the spec without a profile.
        components: Its components.
    """
    from strongroom.spec.found import FoundSpec

    spec = read_spec(FoundSpec(plan.source) if plan.origin == "found" else plan.source)
    # The file must still have the bytes that were read, and nothing must have been installed since.
    if spec is None or spec.digest() != plan.digest or finder.seen != installed():
        return
    place = place_of(spec, plan.profile)
    if place is None:
        return
    with suppress(UnwritableError, OSError):
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
                old.unlink()  # an older record of the same spec, which is useless
            else:
                ages.append((old.stat().st_mtime_ns, old.name))
    for _, name in sorted(ages)[:-_MOST_RECORDS]:
        with suppress(OSError):
            (folder / name).unlink()
    write_atomically(place, whole)


class _Writer:
    """Writes one plan down.

    Raises:
        UnwritableError: Something in it cannot be written down.
    """

    def __init__(self, plan: Plan, spec: SpecBytes, components: ComponentNodes) -> None:
        self.plan = plan
        self.text = text_of(spec.data)
        self.components = components
        self.lines = [0, *(at.end() for at in re.finditer("\r\n|[\n\r\x85\u2028\u2029]", self.text))]
        self.modules: dict[str, list[int]] = {}
        self.noted: set[str] = set()

    def body(self, root: Node) -> bytes:
        """Return the record as JSON."""
        bare = Plan(self.plan.source, self.plan.base)
        if any(getattr(self.plan, name) != getattr(bare, name) for name in {*Plan.__match_args__} - _KNOWN):
            raise UnwritableError
        plan, folder = self.plan, self.plan.base
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
        """Note the files of all loaded modules with these names, or below them."""
        prefixes = tuple(f"{one}." for one in names if one not in self.noted)
        if not prefixes:
            return
        for name, module in list(sys.modules.items()):
            if f"{name}.".startswith(prefixes) and (path := getattr(module, "__file__", None)) is not None:
                state = state_of(path)
                if state is None:
                    raise UnwritableError
                self.modules[path] = state
        self.noted.update(names)

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
        raise UnwritableError

    # --- components ---

    def component(self, plan: ComponentPlan) -> dict[str, Any]:
        if plan.path not in self.components:
            raise UnwritableError
        plugin, node = self.components[plan.path]
        try:
            part = self.part(plugin, node)
        except UnwritableError:  # callers that need its options make a full load
            part = {**self.bare(plugin), "options": None}
        return {
            **part,
            "kind": plan.kind,
            "path": plan.path,
            "at": [plan.position.line, plan.position.column],
            "reads": list(plan.reads),
            "read_keys": list(plan.read_keys),
            "environment": list(plan.environment),
            "key_files": list(plan.key_files),
            "parts": sorted(plan.parts),
        }

    def part(self, plugin: Plugin, node: Node) -> dict[str, Any]:
        """Return a component's type, factory and options; for references, how they are filled in."""
        self.stat_modules(sorted(_packages(plugin.config, plugin)))
        inner = dict(parts_of(plugin, node))  # by its name in the spec, which may be an alias
        return {**self.bare(plugin), "options": self.options(plugin.config, node, inner)}

    def options(
        self, config: type[BaseModel], node: Node, inner: Mapping[str, InnerPart]
    ) -> dict[str, list[Any]]:
        """Return how the members of a model are written down."""
        values = values_without_references(config, node, {*inner})
        options: dict[str, Any] = {}
        for field, info in config.model_fields.items():
            name = info.alias or field
            child = node.mapping.get(name)
            if name in inner:
                found = finder.find(inner[name].kind, inner[name].type)
                options[name] = ["part", self.part(found, inner[name].node)]
            elif child is not None and child.value is not None and (own := section_model(info.annotation)):
                options[name] = self.section(own, child)
            elif child is not None and any(references.has_reference(one.value) for _, one in child.scalars()):
                rule = rule_of(config, field, info)
                options[name] = self.reference(child, rule)
            else:
                if values is None:
                    raise UnwritableError
                options[name] = self.value(values[field], child)
        return options

    def section(self, config: type[BaseModel], node: Node) -> list[Any]:
        """Return how a model within the options is written down, or a list of them."""
        if isinstance(node.value, list):
            return ["list", [self.section(config, one) for one in node.items]]
        return ["members", self.options(config, node, {})]

    def bare(self, plugin: Plugin) -> dict[str, Any]:
        """Return what a record has of a component besides its options."""
        return {
            "type": plugin.name,
            "factory": _named(plugin.factory),
            "public": sorted(public_options(plugin)),
            "decides": None if plugin.address is None else sorted(plugin.address),
        }

    def value(self, value: Any, node: Node | None) -> list[Any]:
        """Return how an option without references is written down; text only by its place."""
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
        raise UnwritableError

    def reference(self, node: Node, rule: dict[str, Any]) -> list[Any]:
        """Return how an option with references is written down."""
        if isinstance(node.value, dict):
            inside = rule_inside(rule, "mapping")
            return ["mapping", {name: self.reference(one, inside) for name, one in node.mapping.items()}]
        if isinstance(node.value, list):
            kind = next(
                (one[0] for one in rule["kinds"] if isinstance(one, list) and one[0] != "mapping"), "list"
            )
            inside = rule_inside(rule, kind)
            return [kind, [self.reference(one, inside) for one in node.items]]
        if not references.has_reference(node.value):
            if isinstance(node.value, str) and "path" in rule["kinds"] and "text" not in rule["kinds"]:
                return self.value(Path(node.value), node)
            if "any" not in rule["kinds"] and not (isinstance(node.value, str) and "text" in rule["kinds"]):
                raise UnwritableError
            plain = node.data()
            if isinstance(plain, str):
                return ["text", self.pieces(plain, self.at(node))]
            return ["constant", json.loads(json.dumps(plain))]  # a number may know how it was written
        scalar = {
            **rule,
            "kinds": [kind for kind in rule["kinds"] if isinstance(kind, str) and kind != "none"],
        }
        if not scalar["kinds"]:
            raise UnwritableError
        text = str(node.value)
        return ["reference", self.pieces(text, self.at(node)), scalar, references.is_lone_reference(text)]

    # --- text by its place ---

    def at(self, node: Node) -> int:
        return self.offset(node.line, node.column)

    def offset(self, line: int, column: int) -> int:
        return self.lines[min(max(line - 1, 0), len(self.lines) - 1)] + max(column - 1, 0)

    def pieces(self, value: str, near: int) -> list[list[int] | str]:
        """Return the places in the spec whose texts, joined, are `value`."""
        pieces: list[list[int] | str] = []
        at = 0
        while at < len(value):
            if len(pieces) == _MOST_PIECES:
                raise UnwritableError
            piece = next(
                (piece for piece in _candidates(value, at) if (start := self._find(piece, near)) >= 0), None
            )
            if piece is None and value[at] < " ":
                pieces.append(value[at])  # from an escape; a value never consists only of these
                at += 1
                continue
            if piece is None:
                raise UnwritableError
            start = self._find(piece, near)
            pieces.append([start, len(piece)])
            at += len(piece)
            near = start
        return pieces

    def _find(self, piece: str, near: int) -> int:
        start = self.text.find(piece, near)
        return start if start >= 0 else self.text.find(piece)


def _candidates(value: str, at: int) -> Iterator[str]:
    """Yield beginnings of the rest of `value`, the longest first, at which YAML may break it."""
    yield value[at:]
    for end in "\n", "'", '"', "\\", " ":
        stop = value.find(end, at + 1)
        if stop > 0:
            yield value[at:stop]
    yield value[at]


def _named(factory: Callable[..., Any] | str) -> str:
    """Return the name that a factory is imported by."""
    if isinstance(factory, str):
        return factory
    name = f"{getattr(factory, '__module__', '')}:{getattr(factory, '__qualname__', '')}"
    module = sys.modules.get(name.partition(":")[0])
    if getattr(module, name.partition(":")[2], None) is not factory:
        raise UnwritableError
    return name


def _packages(config: type[BaseModel], plugin: Plugin) -> set[str]:
    """Return the packages whose modules decide the result of the options."""
    names = {one.__module__ for one in config.__mro__}
    with suppress(TypeError, ValueError):
        names.add(inspect.getmodule(config).__name__)  # type: ignore[union-attr]  # suppressed
    factory = plugin.factory
    names.add(factory.partition(":")[0] if isinstance(factory, str) else str(factory.__module__))
    return {name.partition(".")[0] for name in names} - _OTHERS
