"""Stored secrets that no program gets yet, because the spec does not declare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.cli.child.environment import is_dangerous

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from strongroom.spec.plan import Plan

__all__ = ["forget_undeclared", "lines_to_add", "note_undeclared", "undeclared_notice"]

_SHOWN = 2
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def note_undeclared(plan: Plan, keys: Iterable[str]) -> None:
    """Note which of the stored `keys` the spec does not declare, for the next `run`.

    What the spec reads itself is a credential for a backend, which no program is to get.
    """
    from strongroom.spec import remembered_names

    missing = set(keys) - {one.key for one in plan.secrets.values()} - plan.own_keys()
    if plan.digest and missing:  # without a file there is nothing to add a line to
        remembered_names.note_undeclared(plan.source, plan.profile, missing)


def forget_undeclared(plan: Plan, keys: Iterable[str]) -> None:
    """Forget `keys`, which are gone."""
    from strongroom.spec import remembered_names

    if plan.digest:
        remembered_names.note_undeclared(plan.source, plan.profile, keys, gone=True)


def undeclared_notice(keys: Sequence[str], source: str, secrets: Collection[str]) -> str:
    """Return the message about `keys`, which are stored and not declared.

    Args:
        keys: At least one.
        source: The file of the spec.
        secrets: The names that it declares.
    """
    if len(keys) > _SHOWN:  # one line, however many were stored
        notice = f"the spec does not declare {len(keys)} stored secrets, so CMD does not get them"
        return f"{notice}: {lines_to_add(keys[:1], secrets, example=True)} in {source}"
    are, them = ("is", "it") if len(keys) == 1 else ("are", "them")
    notice = (
        f"{', '.join(keys)} {are} stored, but the spec does not declare {them}, so CMD does not get {them}"
    )
    return f"{notice}: {lines_to_add(keys, secrets)} in {source}"


def lines_to_add(keys: Sequence[str], secrets: Collection[str], *, example: bool = False) -> str:
    """Return the lines that declare `keys`, and where they belong.

    Args:
        keys: What to declare.
        secrets: Names that are declared already.
        example: Whether there are more of the same kind.
    """
    import re

    from strongroom.cli.formats.export import variables

    lines = []
    for key in keys:
        (name,) = variables({key: ""})
        name += "_2" if name in secrets or is_dangerous(name) else ""
        plain = re.fullmatch(r"[A-Za-z_][\w./-]*", key, re.ASCII) and key.lower() not in _YAML_WORDS
        if plain:
            shown = key
        else:
            from strongroom.spec.editing import quoted  # it loads the YAML library

            shown = quoted(key)
        lines.append(f"`{name}: {{key: {shown}}}`")
    return f"add {'lines such as ' if example else ''}{' and '.join(lines)} under `secrets:`"
