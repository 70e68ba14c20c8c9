"""From a file or mapping to a validated plan, with all problems reported at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from strongroom.errors import ConfigurationError, InvalidKeyError
from strongroom.keys import MAX_KEY_CHARACTERS, cannot_start_key, check_prefix, starts_reserved
from strongroom.plugins import PluginFinder, did_you_mean, finder
from strongroom.spec import models
from strongroom.spec.complaints import complaints_of, unknown_key, with_hint
from strongroom.spec.component_loader import ComponentLoader
from strongroom.spec.document import Node, Problem
from strongroom.spec.document import Path as NodePath
from strongroom.spec.found import FoundSpec
from strongroom.spec.models import Spec
from strongroom.spec.plan import (
    ComponentPlan,
    FallbackPlan,
    PipelinePlan,
    Plan,
    RoutePlan,
    find_cycles,
)
from strongroom.spec.problems import Problems, entries, members, references_in
from strongroom.spec.records import are_kept
from strongroom.spec.remembered_names import note_declared
from strongroom.spec.secret_loader import FROM_ENVIRONMENT, load_secrets
from strongroom.spec.source import Source, read_source

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["load_plan", "load_spec"]


def load_spec(spec: str | os.PathLike[str] | Mapping[str, Any], *, profile: str | None = None) -> Spec:
    """Return a validated spec; nothing is looked up, and no component is made.

    Raises:
        SpecError: Something is wrong with it; `problems` lists everything.
        ConfigurationError: There is no such file or profile.
    """
    source = read_source(spec)
    loader = _Loader(source, profile, finder)
    loader.plan()
    root = source.document.root
    model = Spec.model_validate(root.data() if root is not None else {})
    model.place(root, source.name, str(source.folder))
    return model


def load_plan(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | FoundSpec,
    *,
    profile: str | None = None,
    look_up: bool = True,
    pipeline: str | None = None,
    plugins: PluginFinder = finder,
) -> Plan:
    """Return the plan of a spec under `profile`.

    Args:
        spec: A path, a mapping or a `Spec`; or one that was found, which is used only if that is safe.
        profile: The profile to merge over the rest.
        look_up: Whether `${env:}` and `${file:}` references are looked up, so that missing ones are among the
            problems; otherwise the environment and files are not touched.
        pipeline: Look up only what this pipeline uses.
        plugins: Where components are looked for.

    Raises:
        SpecError: Something is wrong; `problems` lists everything.
        UntrustedSpecError: Others could have written it; or it was found, and is neither closed nor trusted.
        PluginError: A plugin that the spec names is broken, or exists twice.
        ConfigurationError: No such file, profile or pipeline.
    """
    loader = _Loader(read_source(spec), profile, plugins)
    loader.look_up, loader.only = look_up, pipeline
    plan = loader.plan()
    root = loader.source.document.root
    if plan.digest and root is not None and plugins is finder:
        if are_kept():  # writing one takes 4 ms, even if there is no place for it
            from strongroom.spec.recording import remember

            remember(plan, root, loader.components.nodes)
        if plan.secrets:
            note_declared(plan.source, plan.profile, plan.secrets)
    return plan


_DECLARATION = len(("secrets", "NAME"))
_NAMES = {
    "pipelines": "up to 64 letters, digits, '_', '.' and '-', not beginning with '.' or '-'",
    "secrets": "letters, digits and '_', not beginning with a digit",
}
_SAMPLES = (
    (("pipelines",), "{app: {provider: {type: memory}}}"),
    (("pipelines", "*"), "{provider: {type: memory}}"),
    (("pipelines", "*", "provider"), "{type: memory}"),
    (("pipelines", "*", "fallback"), "{pipelines: [app, other]}"),
    (("pipelines", "*", "middleware"), "[{type: caching}]"),
    (("pipelines", "*", "middleware", "*"), "{type: caching}"),
    (("pipelines", "*", "hooks"), "[{type: audit}]"),
    (("pipelines", "*", "hooks", "*"), "{type: audit}"),
    (("hooks",), "[{type: audit}]"),
    (("hooks", "*"), "{type: audit}"),
    (("routes",), "[{prefix: a/, pipeline: app}]"),
    (("routes", "*"), "{prefix: a/, pipeline: app}"),
    (("secrets",), "{NAME: {key: a/key}}"),
    (("secrets", "*"), "{key: a/key}"),
    (("secrets", "*", "generate"), "{length: 32}"),
    (("secrets", "*", "rotate"), "{command: [./program, --option]}"),
    (("secrets", "*", "rotate", "command"), "[./program, --option]"),
    (("secrets", "*", "rotate", "verify"), "[./program, --option]"),
    (("secrets", "*", "groups"), "[web]"),
    (("profiles",), "{test: {default: app}}"),
    (("profiles", "*"), "{default: app}"),
)
"""What belongs to a place, for those who wrote something of another shape there."""
_VALUE_RULES = frozenset({"min_length", "max_length", "forbid", "json_schema"})


def _sample_of(loc: NodePath) -> str | None:
    """Return an example of what belongs to `loc`, if there is one."""
    for place, sample in _SAMPLES:
        if len(place) == len(loc) and all(one in {"*", part} for one, part in zip(place, loc, strict=True)):
            return sample
    return None


class _Loader(Problems):
    """Collects problems while it turns nodes into a plan."""

    def __init__(self, source: Source, profile: str | None, plugins: PluginFinder) -> None:
        super().__init__(source)
        self.profile = profile
        self.look_up = False
        self.only: str | None = None
        self.components = ComponentLoader(self, plugins)

    def plan(self) -> Plan:
        root = self.source.document.root
        if root is None:
            self.raise_all()
        root = self.with_profile(root)
        plan = self.assemble(root, self.check_structure(root))
        if self.look_up:
            self.resolve_all_options(plan)
        if self.problems:
            self.raise_all()
        if self.components.errors:
            raise self.components.errors[0]
        if self.only is not None and self.only not in plan.pipelines:
            raise ConfigurationError(
                f"no pipeline {self.only!r} in {self.source.name}",
                hint=did_you_mean(self.only, plan.pipelines),
            )
        return plan

    def with_profile(self, root: Node) -> Node:
        if self.profile is None:
            return root
        profiles = root.mapping.get("profiles")
        chosen = profiles.mapping.get(self.profile) if profiles is not None else None
        if chosen is None:
            names = list(profiles.mapping) if profiles is not None else []
            if self.problems:
                self.raise_all()
            raise ConfigurationError(
                f"no profile {self.profile!r} in {self.source.name}",
                hint=did_you_mean(self.profile, names),
            )
        for key in ("version", "profiles"):
            if key in chosen.mapping:
                self.add(chosen, ("profiles", self.profile, key), "a profile cannot change this", key=key)
        return root.merged(chosen) if isinstance(chosen.value, dict) else root  # the model reports it

    def check_structure(self, root: Node) -> Spec | None:
        """Check everything except the options of components; return the model if all is well."""
        try:
            return Spec.model_validate(root.data())
        except ValidationError as error:
            for loc, kind, message in complaints_of(error):
                self.add_pydantic(root, loc, kind, message)
        except Exception as error:  # noqa: BLE001  # pydantic's own limits, whatever they are
            self.add(root, (), f"the spec cannot be checked: {type(error).__name__}")
        return None

    def add_pydantic(self, root: Node, loc: NodePath, kind: str, message: str) -> None:
        if loc and loc[-1] == "[key]":
            parent, key = root.at(loc[:-2]), str(loc[-2])
            self.add(parent, loc[:-1], f"a name that is not allowed here; {_NAMES[str(loc[0])]}", key=key)
        elif kind == "extra_forbidden":
            parent, key = root.at(loc[:-1]), str(loc[-1])
            self.add(parent, loc, unknown_key(key, _fields_at(loc[:-1])), key=key)
        else:
            node = root.at(loc)
            message = with_hint(kind, message, node.value)
            if message in {"expected a mapping", "expected a list"}:
                is_declaration = loc[:1] == ("secrets",) and len(loc) == _DECLARATION
                sample = _sample_of(loc)
                if is_declaration and references_in(node.value):
                    message += f"; {FROM_ENVIRONMENT}"
                elif sample is not None:
                    message += f", such as {sample}"
            self.add(node, loc, message)

    def assemble(self, root: Node, model: Spec | None) -> Plan:
        pipelines = {
            name: self.pipeline(name, node)
            for name, node in members(root, "pipelines")
            if isinstance(node.value, dict)
        }
        hooks = tuple(
            component
            for index, node in enumerate(entries(root, "hooks"))
            if (component := self.components.load("hook", node, ("hooks", index))) is not None
        )
        default = self.default(root, pipelines)
        routes = tuple(self.routes(root, pipelines))
        secrets = load_secrets(self, root, model)
        plan = Plan(
            source=self.source.name,
            base=str(self.source.folder),
            profile=self.profile,
            pipelines=pipelines,
            default=default,
            hooks=hooks,
            routes=routes,
            secrets=secrets,
            rotation_lock=self.rotation_lock(root),
            rotators=dict(self.rotators(root)),
            serve=self.serve(root),
            origin="found" if self.source.found else "named",
            closed=self.source.closed,
            digest=self.source.digest,
        )
        self.check_needs(root, plan)
        return plan

    def pipeline(self, name: str, node: Node) -> PipelinePlan:
        path: NodePath = ("pipelines", name)
        members = node.mapping
        provider_node, fallback_node = members.get("provider"), members.get("fallback")
        has_provider = provider_node is not None and provider_node.value is not None
        has_fallback = fallback_node is not None and fallback_node.value is not None
        if has_provider == has_fallback:
            what = (
                "either a provider or a fallback, not both" if has_provider else "a provider, or a fallback"
            )
            self.add(node, path, f"a pipeline needs {what}")
        provider = None
        if provider_node is not None and has_provider:
            provider = self.components.load("provider", provider_node, (*path, "provider"))
        fallback = None
        if fallback_node is not None and has_fallback:
            named = tuple(str(item.value) for item in entries(fallback_node, "pipelines"))
            when = [str(item.value) for item in entries(fallback_node, "when")] or ["not_found"]
            fallback = FallbackPlan(named, frozenset(when))
        self.check_rules_inside_encryption(node, path)
        return PipelinePlan(
            name=name,
            position=self.source.position(node.line, node.column),
            provider=provider,
            fallback=fallback,
            middleware=tuple(self.components.load_all("middleware", node, "middleware", path)),
            hooks=tuple(self.components.load_all("hook", node, "hooks", path)),
        )

    def check_rules_inside_encryption(self, node: Node, path: NodePath) -> None:
        """Note rules for values that are inside encryption, where they would see ciphertext."""
        encrypted = False
        for index, child in enumerate(entries(node, "middleware")):
            kind = child.mapping.get("type")
            name = kind.value if kind is not None else None
            encrypted |= name == "encryption"
            if encrypted and name == "validation" and {*child.mapping} & _VALUE_RULES:
                said = "rules for values inside encryption would see ciphertext; put it before the encryption"
                self.add(child, (*path, "middleware", index), said)

    def default(self, root: Node, pipelines: Mapping[str, PipelinePlan]) -> str | None:
        node = root.mapping.get("default")
        if node is not None and isinstance(node.value, str):
            if node.value not in pipelines:
                self.add(node, ("default",), _unknown_pipeline(node.value, pipelines))
            return node.value
        return next(iter(pipelines)) if len(pipelines) == 1 else None

    def routes(self, root: Node, pipelines: Mapping[str, PipelinePlan]) -> Iterable[RoutePlan]:
        seen: set[str] = set()
        for index, node in enumerate(entries(root, "routes")):
            prefix, target = node.mapping.get("prefix"), node.mapping.get("pipeline")
            strip = node.mapping.get("strip_prefix")
            if target is not None and isinstance(target.value, str) and target.value not in pipelines:
                message = _unknown_pipeline(target.value, pipelines)
                self.add(target, ("routes", index, "pipeline"), message)
            if prefix is None or not isinstance(prefix.value, str):
                continue  # reported with the structure of the spec
            path = ("routes", index, "prefix")
            if prefix.value in seen:
                self.add(prefix, path, "a second route for this prefix")
            elif (why := _why_no_prefix(prefix.value)) is not None:
                self.add(prefix, path, why)
            seen.add(prefix.value)
            stripped = bool(strip is not None and strip.value)
            if stripped and not prefix.value.endswith("/"):
                # The rest of a key must be whole segments, since the record of a rotation adds one.
                self.add(prefix, path, "with `strip_prefix` it must end with '/'")
            if target is not None:
                yield RoutePlan(prefix.value, str(target.value), stripped)

    def rotation_lock(self, root: Node) -> ComponentPlan | None:
        node = root.mapping.get("rotation_lock")
        if node is None or node.value is None:
            return None
        found = self.components.load("cache", node, ("rotation_lock",))
        if found is not None and found.reads:
            self.add(node, ("rotation_lock",), "it cannot read from a pipeline: it serves all of them")
        return found

    def rotators(self, root: Node) -> Iterable[tuple[str, ComponentPlan]]:
        # Checked here, but looked up only for a rotation: reading must not need what rotating needs.
        for name, secret in members(root, "secrets"):
            rotate = secret.mapping.get("rotate")
            node = rotate.mapping.get("rotator") if rotate is not None else None
            if node is None or node.value is None:
                continue
            found = self.components.load("rotator", node, ("secrets", name, "rotate", "rotator"))
            if found is not None:
                yield name, found

    def serve(self, root: Node) -> ComponentPlan | None:
        if "serve" not in root.mapping:
            return None
        from strongroom.spec.serve_loader import serve_plan

        return serve_plan(self, root, self.components)

    def check_needs(self, root: Node, plan: Plan) -> None:
        """Note pipelines that do not exist, and circles among those that do."""
        places: list[NodePath] = [("pipelines", name) for name in plan.pipelines]
        places += [("secrets", name, "rotate", "rotator") for name in plan.rotators]
        places += [("serve",)] if "serve" in root.mapping else []
        for path in places:
            for at, needed in _needed(root.at(path)):
                if needed not in plan.pipelines:
                    self.add(root.at((*path, *at)), (*path, *at), _unknown_pipeline(needed, plan.pipelines))
        for hook in plan.hooks:
            for needed in hook.reads:
                # The hook would have to watch its own reading from that pipeline.
                said = f"a hook of every pipeline cannot read from one of them ({needed!r})"
                self.problems.append(Problem(hook.position.line, hook.position.column, hook.path, said))
        for circle in find_cycles({name: one.needs() for name, one in plan.pipelines.items()}):
            node = root.at(("pipelines", circle[0]))
            self.add(node, ("pipelines", circle[0]), f"a circle: {' -> '.join((*circle, circle[0]))}")

    def resolve_all_options(self, plan: Plan) -> None:
        """Fill in every reference once, so that all missing ones are reported together."""
        used = plan.used_by(self.only) if self.only is not None else frozenset(plan.pipelines)
        components = [part for name in sorted(used) for part in plan.pipelines[name].components()]
        paths = {problem.path for problem in self.problems}
        lock = [plan.rotation_lock] if plan.rotation_lock is not None and self.only is None else []
        for component in (*components, *plan.hooks, *lock):
            if not component.reads:
                missing = self.components.missing_in(component)
                self.problems += [problem for problem in missing if problem.path not in paths]


def _needed(pipeline: Node) -> Iterable[tuple[NodePath, str]]:
    """Yield the pipelines that the one at this node names, each with its place below the node."""
    fallback = pipeline.mapping.get("fallback")
    for index, item in enumerate(entries(fallback, "pipelines") if fallback is not None else []):
        yield ("fallback", "pipelines", index), str(item.value)
    for path, scalar in pipeline.scalars():
        for reference in references_in(scalar.value):
            if reference.kind == "secret":
                yield path, reference.pipeline


def _why_no_prefix(prefix: str) -> str | None:
    """Return why no route can have this prefix, if none can."""
    if references_in(prefix):
        return "references are looked up only in the options of components"  # it would count as text
    if len(prefix) > MAX_KEY_CHARACTERS:
        return None  # reported with the structure of the spec
    try:
        check_prefix(prefix)
    except InvalidKeyError as error:
        return error.message
    if cannot_start_key(prefix):
        return "no key begins so: an empty, '.' or '..' segment"
    return "no key begins so: the segment '.rotation' is reserved" if starts_reserved(prefix) else None


def _unknown_pipeline(name: str, pipelines: Mapping[str, object]) -> str:
    return f"no pipeline {name[:80]!r}; {did_you_mean(name, pipelines)}"


def _fields_at(loc: NodePath) -> set[str]:
    """Return the keys that are allowed at `loc`."""
    places: dict[str, type[BaseModel]] = {"routes": models.Route, "secrets": models.Secret}
    if not loc:
        return set(Spec.model_fields)
    if loc[0] == "pipelines":
        return set((models.Fallback if "fallback" in loc else models.Pipeline).model_fields)
    if loc[-1] == "generate":
        return set(models.Generate.model_fields)
    if loc[-1] == "rotate":
        return set(models.Rotate.model_fields)
    if loc[-2:] == ("rotate", "generator"):
        return set(models.Generator.model_fields)
    return set(places[str(loc[0])].model_fields) if loc[0] in places else set()
