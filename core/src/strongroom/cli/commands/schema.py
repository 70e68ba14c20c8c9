"""`strongroom schema`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from strongroom.cli import output
from strongroom.cli.app import command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("schema")
def schema_command(settings: GlobalOptions) -> None:
    """Print the JSON Schema of specs, with the options of all installed plugins.

    Example: strongroom schema > strongroom.schema.json
    """
    del settings  # it is JSON either way
    from strongroom.spec import json_schema

    output.raw((json.dumps(json_schema(), indent=2) + "\n").encode())
