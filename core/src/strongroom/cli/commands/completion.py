"""`strongroom completion`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import output
from strongroom.cli.app import app, command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

VARIABLE = "_STRONGROOM_COMPLETE"


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(settings: GlobalOptions, shell: str) -> None:
    """Print the completion script for SHELL; it completes commands, options, and the names in the spec.

    Example: eval "$(strongroom completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover  # the three are click's own
        raise AssertionError(shell)
    # fish's script would end a description at its first comma.
    script = (
        kind(app, {}, "strongroom", VARIABLE).source().replace('string split ","', 'string split -m 1 ","')
    )
    if settings.json:
        output.as_json({"shell": shell, "script": script})
    else:
        output.lines([script])
