"""`strongroom export`: secrets in the format of another tool, exactly or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command
from strongroom.cli.child.environment import refuse_dangerous, refuse_undeclared
from strongroom.cli.errors import UsageError
from strongroom.cli.formats.export import FORMATS, as_env, variables
from strongroom.cli.selection import read_all, select_secrets
from strongroom.masking.limits import MIN_CHARACTERS

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

_NOT_MASKED = frozenset({"integer", "boolean", "port"})


@command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["env", "fish", "dotenv", "json", "yaml", "docker", "github"]),
    required=True,
    help="env for sh and systemd, fish, dotenv for .env files, json, yaml, docker for --env-file, github for "
    "$GITHUB_ENV.",
)
@click.option("--prefix", metavar="P", help="All keys that begin with P, in place of the declared secrets.")
@click.option(
    "--group",
    metavar="G",
    shell_complete=completions.groups,
    help="Only the declared secrets of this group.",
)
@click.option("--exported", is_flag=True, help="With env: put `export` before each assignment.")
def export_command(
    settings: GlobalOptions, *, form: str, prefix: str | None, group: str | None, exported: bool
) -> None:
    """Print the declared secrets by name, or all keys under a prefix; keys become names such as DATABASE_URL.

    What a format cannot hold, such as a newline in docker's, is refused, and nothing is printed; so are the
    names that `run` refuses, such as PATH.

    Example: strongroom export --format json
    """
    if prefix is not None and group is not None:
        raise UsageError("--prefix takes keys, --group declared secrets: choose one")
    if exported and form != "env":
        raise UsageError("--exported is for --format env")
    open_ones: set[str] = set()
    with settings.registry() as registry:
        if prefix is None:
            chosen = select_secrets(registry.plan, group=group)
            refuse_dangerous(chosen)
            found = read_all(registry, chosen)
            values = {name: one.text for name, one in found.items() if one.text is not None}
            open_ones = {
                name for name, one in found.items() if not one.plan.mask or one.plan.type in _NOT_MASKED
            }
        else:
            values = registry.get_secrets(registry.list_secrets(prefix))
    if prefix is not None and form not in {"json", "yaml"}:  # there the names are keys
        values = variables(values)
        refuse_undeclared(values)
    text = as_env(values, before="export ") if exported else FORMATS[form](values)
    if form == "github":
        # On stderr, which the runner reads too: stdout goes to the file that GITHUB_ENV names.
        masked = [value for name, value in values.items() if name not in open_ones]
        click.echo(_masks(masked), nl=False, err=True)
    output.raw(text.encode())


def _masks(values: Iterable[str]) -> str:
    """Return the commands that have GitHub mask every line of `values` from now on."""
    lines = dict.fromkeys(line for value in values for line in value.split("\n"))
    escaped = (line.replace("%", "%25").replace("\r", "%0D") for line in lines if len(line) >= MIN_CHARACTERS)
    return "".join(f"::add-mask::{line}\n" for line in escaped)
