"""Completions for the shell: names from the spec. No backend is asked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

__all__ = ["files", "groups", "keys", "pipelines", "profiles", "programs", "several_names"]


def profiles(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the profiles that begin with `begun`."""
    return _beginning(begun, _spec(context, "profiles"))


def pipelines(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the pipelines that begin with `begun`."""
    return _beginning(begun, _spec(context, "pipelines"))


def keys(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the keys of declared secrets; a backend would be too slow for each press of a key."""
    found = (members.get("key", name) for name, members in _declared(context) if "compose" not in members)
    return _beginning(begun, found)


def files(_: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Have the shell offer files."""
    return [CompletionItem(begun, type="file")]


def groups(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return the groups of declared secrets."""
    found = (members.get("groups") for _, members in _declared(context))
    return _beginning(begun, (group for some in found if isinstance(some, list) for group in some))


def several_names(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Return lists of declared names, such as `A,B`, that begin with `begun`."""
    before, comma, last = begun.rpartition(",")
    given = before.split(",")
    names = (name for name, _ in _declared(context) if name not in given)
    return [f"{before}{comma}{name}" for name in _beginning(last, names)]


def programs(context: click.Context, _: click.Parameter, begun: str) -> list[str] | list[CompletionItem]:
    """Return the programs in PATH for the first word of a command; the shell offers files for others."""
    if context.params.get("words") or "/" in begun:
        return [CompletionItem(begun, type="file")]
    names = set()
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        with suppress(OSError), os.scandir(folder or ".") as entries:
            names |= {
                one.name for one in entries if one.name.startswith(begun) and os.access(one.path, os.X_OK)
            }
    return sorted(names) or [CompletionItem(begun, type="file")]


def _declared(context: click.Context) -> list[tuple[str, dict[str, Any]]]:
    found = _spec(context, "secrets")
    return [(name, members if isinstance(members, dict) else {}) for name, members in found.items()]


def _beginning(begun: str, found: Iterable[object]) -> list[str]:
    return sorted({str(one) for one in found if str(one).startswith(begun)})


def _spec(context: click.Context, member: str) -> dict[str, Any]:
    """Return a member of the spec as it is written, so that a spec with mistakes completes too."""
    from strongroom.spec.found import find_spec
    from strongroom.spec.source import read_source

    try:
        path = context.find_root().params.get("spec") or os.environ.get("STRONGROOM_SPEC") or find_spec()
        root = read_source(path).document.root if path is not None else None
        found = root.mapping[member].data() if root is not None else {}
    except Exception:  # noqa: BLE001  # whatever is wrong, a traceback in the line that is being typed helps nobody
        return {}
    return found if isinstance(found, dict) else {}
