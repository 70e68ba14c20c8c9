"""Declared secrets that are made of other declared secrets."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from strongroom.runtime.frozen import frozen

if TYPE_CHECKING:
    from strongroom.declarations.resolution import Resolution
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["Composed", "compose", "dependency_order", "template_value", "with_dependencies"]


@frozen
class Composed:
    """The text that a template gave, or what is wrong; `absent` if a part is not there."""

    text: str | None = None
    problem: str | None = None
    absent: bool = False
    part: Resolution | None = None
    """The part that it failed for."""

    def __repr__(self) -> str:
        return f"<Composed {self.problem or 'ok'}>"


def with_dependencies(
    chosen: Mapping[str, SecretPlan], declared: Mapping[str, SecretPlan]
) -> dict[str, SecretPlan]:
    """Return `chosen` and all that they are made of, however far away."""
    secrets = dict(chosen)
    waiting = [part for secret in chosen.values() for part in secret.parts]
    while waiting:
        name = waiting.pop()
        if name not in secrets:
            secrets[name] = declared[name]
            waiting += declared[name].parts
    return secrets


def dependency_order(secrets: Mapping[str, SecretPlan]) -> list[str]:
    """Return the names of `secrets`, each after all of its parts."""
    return list(TopologicalSorter({name: secret.parts for name, secret in secrets.items()}).static_order())


def compose(secret: SecretPlan, parts: Mapping[str, Resolution]) -> Composed:
    """Fill in the template of `secret`, of which `parts` has all the parts.

    An optional part that is absent is undefined in the template: `is defined` and `default()` see it.
    """
    for name in secret.parts:
        if parts[name].status not in {"ok", "due"}:
            problem = f"it is composed of {name}, which is {parts[name].status}"
            return Composed(
                problem=problem,
                absent=parts[name].status == "missing" and not parts[name].is_gone,
                part=parts[name],
            )
    from strongroom.templating import as_written, environment, plain_parts

    values = {name: template_value(parts[name]) for name in secret.parts if parts[name].text is not None}
    pieces = plain_parts(secret.compose or "")
    if pieces is not None and not any(isinstance(one, tuple) and one[0] not in values for one in pieces):
        texts = [as_written(values[one[0]]) if isinstance(one, tuple) else one for one in pieces]
        text = "".join(texts)
        whole = text.isascii() or text.encode(errors="replace").decode() == text
        return Composed(text) if whole else Composed(problem="what it is composed of is not text")
    templates = environment()
    from jinja2 import UndefinedError

    try:
        text = templates.from_string(secret.compose or "").render(values)
        text.encode()  # half a surrogate pair is not text
        return Composed(text)
    except UndefinedError:
        absent = [name for name in secret.parts if name not in values]
    except Exception as error:  # noqa: BLE001  # an expression of the template; its message may hold a value
        return Composed(problem=f"its template fails with {type(error).__name__}")
    if not absent:
        return Composed(problem="its template asks for a member that is not there")
    return Composed(problem=f"it is composed of {', '.join(absent)}, which is absent", absent=True)


def template_value(found: Resolution) -> Any:
    """Return what a template gets for a secret: its typed value, or the text of what would be bytes."""
    return found.text if isinstance(found.value, bytes) else found.value
