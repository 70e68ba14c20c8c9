"""`strongroom run`, as click sees it."""

from __future__ import annotations

from typing import Any

import click

from strongroom.cli import completions
from strongroom.cli.actions.run import run
from strongroom.cli.app import command
from strongroom.cli.context import GlobalOptions

__all__ = ["run_command"]


@command("run", context_settings={"allow_interspersed_args": False})
@click.option(
    "--group",
    metavar="G",
    shell_complete=completions.groups,
    help="Only the declared secrets of this group.",
)
@click.option(
    "--only",
    metavar="A,B",
    shell_complete=completions.several_names,
    help="Only these declared secrets.",
)
@click.option("--allow-empty", is_flag=True, help="Run CMD even without a spec.")
@click.option("--no-mask", is_flag=True, help="Let CMD write to the terminal or file itself, unmasked.")
@click.option("--replace", is_flag=True, help="Become CMD instead of running it; nothing is masked then.")
@click.option(
    "--keep-env",
    metavar="NAME",
    multiple=True,
    help="Leave this credential in the environment; may be repeated.",
)
@click.option("--watch", is_flag=True, help="Restart or signal CMD when one of its secrets changes.")
@click.option(
    "--on-change",
    metavar="restart|SIGNAL",
    help="With --watch: restart CMD, or send it a signal, such as HUP (only its secret files change).",
)
@click.option(
    "--poll-seconds",
    type=float,
    help="With --watch: seconds between polls of backends that do not announce changes (30).",
)
@click.option(
    "--stop-timeout", type=float, help="With --watch: seconds from SIGTERM to SIGKILL at a restart (10)."
)
@click.argument(
    "words",
    metavar="-- CMD...",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    shell_complete=completions.programs,
)
def run_command(settings: GlobalOptions, **options: Any) -> int:
    """Run CMD with the declared secrets in its environment, and nowhere else.

    Nothing starts while a required secret is missing. Values are masked in what CMD prints. The exit
    code is CMD's own, or 128+N after signal N.

    Example: strongroom run -- python app.py
    """
    return run(settings, **options)
