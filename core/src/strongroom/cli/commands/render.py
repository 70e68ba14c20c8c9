"""`strongroom render`, as click sees it."""

from __future__ import annotations

import click

from strongroom.cli.actions.render import render_file
from strongroom.cli.app import FilePath, command
from strongroom.cli.context import GlobalOptions

__all__ = ["render_command"]


@command("render")
@click.argument("template", type=FilePath(allow_dash=True))
@click.option(
    "-o", "--output", "target", metavar="FILE", type=FilePath(), help="Write to FILE, with mode 0600."
)
def render_command(settings: GlobalOptions, *, template: str, target: str | None) -> None:
    """Fill in TEMPLATE (Jinja2, in its sandbox): {{ secret("key", field="f") }} and the declared names.

    A name that is not declared is an error. FILE is written whole or not at all; - is stdout, and a device or
    pipe is written to directly. A file that the spec names, such as a key or a store, is never replaced.
    Jinja2 comes with the extra: pip install 'strongroom[templates]'.

    Example: strongroom render config.ini.j2 -o config.ini
    """
    render_file(settings, template=template, target=target)
