"""From the nodes of declared secrets to plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from strongroom.errors import ConfigurationError, InvalidKeyError
from strongroom.keys import check_key, is_reserved
from strongroom.plugins import did_you_mean
from strongroom.plugins.patterns import compiled
from strongroom.spec import models
from strongroom.spec.document import Node
from strongroom.spec.document import Path as NodePath
from strongroom.spec.plan import SecretPlan, find_cycles
from strongroom.spec.problems import Problems, entries, members, references_in

__all__ = ["FROM_ENVIRONMENT", "load_secrets"]

FROM_ENVIRONMENT = (
    "references are looked up only in the options of components; for secrets out of the environment, write "
    "`provider: {type: env}` into a pipeline, and route their keys to it"
)
"""What to do instead of `NAME: ${env:NAME}` under `secrets:`."""


def load_secrets(problems: Problems, root: Node, spec: models.Spec | None) -> dict[str, SecretPlan]:
    """Return the plans of the entries under `secrets`, and note all problems with them.

    Args:
        problems: Where problems are noted.
        root: The nodes of the spec.
        spec: The model of the spec, if it is valid.
    """
    secrets = {
        name: secret
        for name, node in members(root, "secrets")
        if (secret := _secret(problems, name, node, spec.secrets.get(name) if spec is not None else None))
    }
    return _composed(problems, root, secrets)


def _secret(problems: Problems, name: str, node: Node, model: models.Secret | None) -> SecretPlan | None:
    path: NodePath = ("secrets", name)
    _check_key(problems, name, node, path)
    if model is None:  # something is wrong with the spec, though perhaps not here
        model = _without_wrong_members(node)
        if model is None:
            return None  # reported with the structure of the spec
    _check_secret(problems, model, node, path)
    generate = model.generate.model_dump(exclude_none=True) if model.generate is not None else None
    rotate = (
        model.rotate.model_dump(exclude_none=True, exclude={"rotator"}) if model.rotate is not None else None
    )
    if rotate is not None and model.rotate is not None and model.rotate.rotator is not None:
        rotate["rotator"] = model.rotate.rotator.type  # its options, which may be secret, are in the plan
    values = {
        field: getattr(model, field)
        for field in SecretPlan._fields
        if field in models.Secret.model_fields and field not in {"key", "generate", "rotate"}
    }
    values = {field: tuple(value) if isinstance(value, list) else value for field, value in values.items()}
    position = problems.source.position(*_key_position(problems.source.document.root, path, node))
    key = "" if model.compose is not None else model.key or name
    return SecretPlan(name=name, key=key, position=position, generate=generate, rotate=rotate, **values)


def _without_wrong_members(node: Node) -> models.Secret | None:
    """Return the model of a declaration without members that are reported with the structure of the spec.

    The other members are checked all the same, so that every problem is reported.
    """
    data: Any = node.data()
    if not isinstance(data, dict):
        return None
    try:
        return models.Secret.model_validate(data)
    except ValidationError as error:
        wrong = {one["loc"][0] for one in error.errors(include_url=False, include_input=False) if one["loc"]}
    try:
        return models.Secret.model_validate({name: data[name] for name in data if name not in wrong})
    except ValidationError:
        return None


def _check_key(problems: Problems, name: str, node: Node, path: NodePath) -> None:
    given = node.mapping.get("key")
    key = given.value if given is not None and isinstance(given.value, str) else name
    try:
        reserved = is_reserved(check_key(key))
    except InvalidKeyError as error:
        problems.add(node.at(("key",)), (*path, "key"), str(error))
    else:
        if reserved:
            problems.add(node.at(("key",)), (*path, "key"), "a key with the segment '.rotation' is reserved")


def _check_secret(problems: Problems, model: models.Secret, node: Node, path: NodePath) -> None:
    for name in ("key", "default"):
        # Otherwise the text of the reference would count as the value.
        if references_in((at := node.at((name,))).value):
            problems.add(at, (*path, name), FROM_ENVIRONMENT)
    if model.pattern is not None:
        try:
            compiled(model.pattern)
        except ValueError:
            problems.add(
                node.at(("pattern",)),
                (*path, "pattern"),
                "not a regular expression that the package regex takes",
            )
    if model.min_length is not None and model.max_length is not None and model.min_length > model.max_length:
        problems.add(node.at(("max_length",)), (*path, "max_length"), "less than min_length")
    _check_generators(problems, model, node, path)
    if model.rotate is not None and model.rotate.rotator is not None:
        for name in ("command", "verify", "timeout_seconds"):
            if name in model.rotate.model_fields_set and getattr(model.rotate, name) is not None:
                below = ("rotate", name)
                problem = (
                    "a rotator has a `timeout_seconds` of its own, among its options"
                    if name == "timeout_seconds"
                    else "a rotator replaces `command` and `verify`: give one or the other"
                )
                problems.add(node.at(below), (*path, *below), problem)


def _check_generators(problems: Problems, model: models.Secret, node: Node, path: NodePath) -> None:
    declared: list[tuple[NodePath, str, models.Generate | models.Generator]] = []
    if model.generate is not None:
        declared.append((("generate",), "password", model.generate))
    if model.rotate is not None and model.rotate.generator is not None:
        declared.append((("rotate", "generator"), model.rotate.generator.type, model.rotate.generator))
    for below, kind, options in declared:
        from strongroom.generators import generator_of

        try:
            generator_of(kind, **options.model_dump(exclude_none=True, exclude={"type"}))
        except ConfigurationError as error:
            problems.add(node.at(below), (*path, *below), str(error))


def _composed(problems: Problems, root: Node, secrets: Mapping[str, SecretPlan]) -> dict[str, SecretPlan]:
    """Return `secrets` with the parts of the composed ones, and with the spec's own placeholders."""
    own = tuple(str(node.value) for node in entries(root, "placeholders"))
    nodes = dict(members(root, "secrets"))
    plans = {name: secret._replace(placeholders=own) for name, secret in secrets.items()}
    for name, secret in secrets.items():
        if secret.compose is not None:
            parts = _parts(problems, secret.compose, nodes[name], ("secrets", name), nodes)
            plans[name] = plans[name]._replace(parts=parts)
    for circle in find_cycles({name: frozenset(one.parts) for name, one in plans.items()}):
        path: NodePath = ("secrets", circle[0], "compose")
        problems.add(root.at(path), path, f"a circle: {' -> '.join((*circle, circle[0]))}")
    return plans


def _parts(
    problems: Problems, template: str, node: Node, path: NodePath, declared: Mapping[str, object]
) -> tuple[str, ...]:
    """Return the declared names that `template` needs, and note all problems with it."""
    from strongroom.templating import BadTemplateError, names_in

    for other in ("key", "field", "default", "generate", "rotate_days", "rotate"):
        given = node.mapping.get(other)
        if given is not None and given.value is not None:
            problem = "not for a secret that is composed: its parts have their own"
            problems.add(given, (*path, other), problem)
    at = node.at(("compose",))
    try:
        names = names_in(template)
    except BadTemplateError as error:
        problems.add(at, (*path, "compose"), f"not a template that Jinja2 takes: {error}")
        return ()
    except ConfigurationError as error:  # Jinja2 is not installed
        problems.add(at, (*path, "compose"), f"{error.message}; {error.hint}")
        return ()
    for name in sorted(names - declared.keys()):
        problem = f"no secret {name[:80]!r} is declared; {did_you_mean(name, declared)}"
        problems.add(at, (*path, "compose"), problem)
    return tuple(sorted(names & declared.keys()))


def _key_position(root: Node | None, path: NodePath, node: Node) -> tuple[int, int]:
    if root is not None and isinstance(path[-1], str) and path[-1] in (parent := root.at(path[:-1])).keys:
        return parent.key_position(path[-1])
    return node.line, node.column
