"""From the nodes of a spec's components to plans, with every problem noted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from strongroom.errors import PluginError
from strongroom.paths.user_home import expanded
from strongroom.plugins import Kind, Plugin, PluginFinder, UnknownTypeError
from strongroom.spec.document import Node, Problem, show_path
from strongroom.spec.document import Path as NodePath
from strongroom.spec.options import (
    OptionsError,
    check_options,
    parts_of,
    prepare_options,
    public_options,
)
from strongroom.spec.plan import ComponentPlan
from strongroom.spec.problems import Problems, entries, references_in, spec_error
from strongroom.spec.references import Reference, ReferenceSources, no_secret
from strongroom.spec.validated_options import ValidatedOptions

__all__ = ["KEY_OPTIONS", "ComponentLoader"]

KEY_OPTIONS = frozenset({"key", "encryption_key", "older_keys"})
"""The names of options that hold keys."""


class ComponentLoader:
    """Turns the nodes of components into their plans.

    Args:
        problems: Where problems are noted.
        plugins: Where components are looked for.

    Attributes:
        nodes: The plugin and the node of each component, by its path.
        errors: The errors of plugins that the spec names and that are broken, or exist twice.
        validated: Options that have passed validation.
    """

    def __init__(self, problems: Problems, plugins: PluginFinder) -> None:
        self._problems = problems
        self._source = problems.source
        self._plugins = plugins
        self.nodes: dict[str, tuple[Plugin, Node]] = {}
        self.errors: list[PluginError] = []
        self.validated = ValidatedOptions()
        self._attempts: dict[
            str, Callable[[Callable[[Reference], str]], Mapping[str, Any] | list[Problem]]
        ] = {}

    def load_all(self, kind: Kind, node: Node, member: str, path: NodePath) -> Iterable[ComponentPlan]:
        """Yield the plans of the components in the list `member` of `node`."""
        for index, child in enumerate(entries(node, member)):
            component = self.load(kind, child, (*path, member, index))
            if component is not None:
                yield component

    def load(self, kind: Kind, node: Node, path: NodePath) -> ComponentPlan | None:
        """Return the plan of the component at `node`; None if its type is missing or not installed."""
        type_node = node.mapping.get("type")
        if type_node is None or not isinstance(type_node.value, str) or not type_node.value:
            return None  # reported with the shape of the spec
        type_name = type_node.value
        try:
            plugin = self._plugins.find(kind, type_name)
        except UnknownTypeError as error:
            self._problems.add(type_node, (*path, "type"), str(error))
            return None
        except PluginError as error:
            position = self._source.position(type_node.line, type_node.column)
            self.errors.append(
                PluginError(f"{position}: {show_path(path)}: {error.message}", hint=error.hint)
            )
            return None
        for where, message in check_options(plugin, node, self.validated):
            self._complain(node, path, where, message)
        for name, inner in parts_of(plugin, node):
            if not inner.type:
                self._problems.add(
                    inner.node, (*path, name), "a component needs its `type`, as in {type: NAME}"
                )
            else:
                self.load(inner.kind, inner.node, (*path, name))
        return self.plan_of(kind, plugin, node, path)

    def _complain(self, node: Node, path: NodePath, where: NodePath, message: str) -> None:
        if len(where) == 1 and message.startswith("unknown key"):
            self._problems.add(node, (*path, *where), message, key=str(where[0]))
        else:
            self._problems.add(node.at(where), (*path, *where), message)

    def plan_of(self, kind: str, plugin: Plugin, node: Node, path: NodePath) -> ComponentPlan:
        """Return the plan of a component whose plugin is known."""
        references = [reference for _, scalar in node.scalars() for reference in references_in(scalar.value)]
        position = self._source.position(node.line, node.column)
        shown = show_path(path)
        # A rotator is made for each rotation, much later: what its model looks up must be looked up again
        # then.
        known = self.validated if kind != "rotator" else None

        def attempt(read_secret: Callable[[Reference], str]) -> Mapping[str, Any] | list[Problem]:
            try:
                sources = ReferenceSources(os.environ, self._source.folder, read_secret)
                return prepare_options(plugin, node, sources, self._plugins, known)
            except OptionsError as error:
                complaints = [(node.at(where), where, message) for where, message in error.complaints]
            return [
                Problem(at.line, at.column, show_path((*path, *where)), message)
                for at, where, message in complaints
            ]

        def prepare(read_secret: Callable[[Reference], str]) -> Mapping[str, Any]:
            options = attempt(read_secret)
            if isinstance(options, list):
                raise spec_error(self._source.name, options)
            return options

        self._attempts[shown] = attempt
        self.nodes[shown] = (plugin, node)
        return ComponentPlan(
            kind=kind,
            type=plugin.name,
            path=shown,
            position=position,
            factory=plugin.factory,
            prepare=prepare,
            reads=tuple(dict.fromkeys(one.pipeline for one in references if one.kind == "secret")),
            read_keys=tuple(dict.fromkeys(one.name for one in references if one.kind == "secret")),
            environment=tuple(dict.fromkeys(one.name for one in references if one.kind == "env")),
            key_files=tuple(
                str(self._source.folder / expanded(reference.name))
                for where, scalar in node.scalars()
                if KEY_OPTIONS & set(where)
                for reference in references_in(scalar.value)
                if reference.kind == "file"
            ),
            public=public_options(plugin),
            address=plugin.address,
            parts=frozenset(name for name, _ in parts_of(plugin, node)),
        )

    def missing_in(self, component: ComponentPlan) -> list[Problem]:
        """Fill in the references of a component once, and return the problems with what they give."""
        options = self._attempts[component.path](no_secret)
        return options if isinstance(options, list) else []
