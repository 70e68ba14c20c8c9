"""`strongroom keygen`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("keygen")
def keygen_command(settings: GlobalOptions) -> None:
    """Print a new encryption key and nothing else.

    Example: (umask 077; strongroom keygen > app.key)
    """
    from strongroom.encryption import generate_key

    key = generate_key()
    if settings.json:
        output.as_json({"key": key})
    else:
        output.lines([key])
