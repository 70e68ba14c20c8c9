"""The option for all tenants, and the answer, of `backup`, `restore` and `rekey`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import output

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


all_tenants_option = click.option(
    "--all-tenants",
    is_flag=True,
    help="Agree that this affects all tenants, if the pipeline has tenants.",
)


def key_id_of(store: Any) -> str | None:
    key_id = getattr(store, "key_id", None)
    return str(key_id()) if callable(key_id) else None


def report(settings: GlobalOptions, answer: dict[str, Any], *lines: str) -> None:
    if settings.json:
        output.as_json(answer)
    else:
        output.lines(lines)
