"""`strongroom export`, as click sees it."""

from __future__ import annotations

import click

from strongroom.cli import completions
from strongroom.cli.actions.export import export
from strongroom.cli.app import command
from strongroom.cli.context import GlobalOptions

__all__ = ["export_command"]


@command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["env", "fish", "dotenv", "json", "yaml", "docker", "github"]),
    required=True,
    help="env for sh and systemd, fish, dotenv for .env files, json, yaml, docker for --env-file, github for "
    "$GITHUB_ENV.",
)
@click.option("--prefix", metavar="P", help="All keys that begin with P, instead of the declared secrets.")
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

    A value that the format cannot represent, such as a newline in docker's, is refused, and nothing is
    printed; so is a name that `run` refuses, such as PATH.

    Example: strongroom export --format json
    """
    export(settings, form=form, prefix=prefix, group=group, exported=exported)
