"""`strongroom export`: secrets in the format of another tool, exactly or not at all.

It does without click; `commands/export.py` has the options.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from strongroom.cli import output
from strongroom.cli.child.environment import refuse_dangerous, refuse_undeclared
from strongroom.cli.declared.selection import nothing_declared, read_all, select_secrets
from strongroom.cli.errors import UsageError
from strongroom.cli.formats.export import FORMATS, as_env, variables
from strongroom.cli.spec_cache import without_caches
from strongroom.masking.limits import MIN_CHARACTERS, UNMASKED_TYPES

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

__all__ = ["export"]


def export(
    settings: GlobalOptions,
    *,
    form: str,
    prefix: str | None = None,
    group: str | None = None,
    exported: bool = False,
) -> None:
    """Print the declared secrets, or all keys under `prefix`, in the format `form`.

    Raises:
        UsageError: An option does not go with another one.
    """
    settings.refuse_format(form)
    if prefix is not None and group is not None:
        raise UsageError("--prefix takes keys, --group declared secrets: choose one")
    if exported and form != "env":
        raise UsageError("--exported is for --format env")
    open_ones: set[str] = set()
    with settings.registry(change=without_caches) as registry:
        if prefix is None:
            chosen = select_secrets(registry.plan, group=group)
            if not chosen:
                own = registry.plan.origin == "own"
                settings.warn(nothing_declared(own=own))
            refuse_dangerous(chosen)
            found = read_all(registry, chosen)
            values = {name: one.text for name, one in found.items() if one.text is not None}
            open_ones = {
                name for name, one in found.items() if not one.plan.mask or one.plan.type in UNMASKED_TYPES
            }
        else:
            settings.check_tenant_below(registry, prefix)
            values = registry.get_secrets(registry.list_secrets(prefix))
            if not values:
                settings.warn(f"no key begins with {prefix!r}" if prefix else "nothing is stored")
        settings.warn_of_leases(registry)
    if prefix is not None and form not in {"json", "yaml"}:  # in these the names are keys
        values = variables(values)
        refuse_undeclared(values)
    text = as_env(values, before="export ") if exported else FORMATS[form](values)
    if form == "github":
        # On stderr, which the runner reads too: stdout goes to the file that GITHUB_ENV names.
        masked = [value for name, value in values.items() if name not in open_ones]
        output.to_stderr(_masks(masked))
    output.raw(text.encode())


def _masks(values: Iterable[str]) -> str:
    """Return the commands by which GitHub masks every line of `values` from now on."""
    lines = dict.fromkeys(line for value in values for line in value.split("\n"))
    escaped = (line.replace("%", "%25").replace("\r", "%0D") for line in lines if len(line) >= MIN_CHARACTERS)
    return "".join(f"::add-mask::{line}\n" for line in escaped)
