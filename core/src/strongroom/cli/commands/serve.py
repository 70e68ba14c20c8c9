"""`strongroom serve`: the spec's pipelines for every language, over HTTP."""

from __future__ import annotations

import click

from strongroom.cli import completions
from strongroom.cli.actions.serve import serve
from strongroom.cli.app import FilePath, command
from strongroom.cli.context import GlobalOptions

__all__ = ["serve_command"]


@command("serve")
@click.option(
    "--socket",
    metavar="PATH",
    type=FilePath(),
    shell_complete=completions.files,
    help="Listen at this Unix socket.",
)
@click.option("--listen", metavar="HOST:PORT", help="Listen at this address.")
def serve_command(settings: GlobalOptions, *, socket: str | None, listen: str | None) -> int:
    """Answer clients of Vault's KV version 2, and of AWS's secrets agent, with the spec's pipelines.

    Without --socket and --listen it listens where the spec's `serve:` says. SIGTERM ends it once requests in
    flight are answered; SIGHUP makes it read the spec again. Exits with 8 if a server already listens there.

    Example: strongroom serve --socket strongroom.sock
    """
    return serve(settings, socket=socket, listen=listen)
