"""`strongroom get`. click is imported only where `get` is called through it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from strongroom.cli import output

if TYPE_CHECKING:
    from strongroom.cli.frame import Settings

__all__ = ["get"]


def get(settings: Settings, *, key: str, field: str | None = None, version: str | None = None) -> None:
    """Print the value of `key`, or of one member of it, in its current or an older version."""
    with settings.registry() as registry:
        value = registry.get_secret(key) if version is None else registry.get_secret_version(key, version)
        if field is not None:
            from strongroom.fields import member_of

            value = member_of(value, key, field)
        if settings.json:
            output.as_json({"key": key, "value": value, "pipeline": registry.explain(key).pipeline})
        else:
            output.value(value)


def __getattr__(name: str) -> Any:
    if name != "get_command":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    import click

    from strongroom.cli.app import command

    @command("get")
    @click.argument("key")
    @click.option("--field", metavar="F", help="A member of a JSON secret; 'a.b' and 'a.0' descend.")
    @click.option("--version", metavar="V", help="An older version, as `history` lists them.")
    def get_command(settings: Settings, key: str, field: str | None, version: str | None) -> None:
        """Print the value of KEY on stdout; a newline follows it only on a terminal.

        Example: strongroom get database/password
        """
        get(settings, key=key, field=field, version=version)

    return get_command
