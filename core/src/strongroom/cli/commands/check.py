"""`strongroom check`, as click sees it."""

from __future__ import annotations

import click

from strongroom.cli import completions
from strongroom.cli.actions.check import check
from strongroom.cli.app import command
from strongroom.cli.context import GlobalOptions

__all__ = ["check_command"]


@command("check")
@click.option("--fix", is_flag=True, help="Generate and store what is missing and has `generate:`.")
@click.option("--offline", is_flag=True, help="Check the spec alone: no backend, file or variable is read.")
@click.option(
    "--group",
    metavar="G",
    shell_complete=completions.groups,
    help="Only the declared secrets of this group.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "junit", "sarif"]),
    default=None,
    help="How to show the result; junit and sarif are for CI.",
)
def check_command(
    settings: GlobalOptions, *, fix: bool, offline: bool, group: str | None, form: str | None
) -> int:
    """Check that every declared secret is there, has its type and is not due; exits with 7 if not.

    Example: strongroom check --offline
    """
    return check(settings, fix=fix, offline=offline, group=group, form=form)
