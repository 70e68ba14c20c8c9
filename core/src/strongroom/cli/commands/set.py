"""`strongroom set`, `delete`, `list` and `history`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.errors import SecretNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import Settings
    from strongroom.spec.plan import Plan


@command("set")
@click.argument("key", shell_complete=completions.keys)
@click.argument("value", required=False)
@click.option("--generate", is_flag=True, help="Make a random value, as the spec's `generate:` says.")
@click.option("--raw", is_flag=True, help="Keep a trailing newline of stdin.")
def set_command(settings: Settings, key: str, value: str | None, generate: bool, raw: bool) -> None:
    """Store VALUE under KEY; without VALUE read stdin, or ask on a terminal without showing it.

    Example: printf %s "$PASSWORD" | strongroom set database/password
    """
    if generate and (value is not None or raw):
        raise errors.UsageError("--generate makes the value: give neither VALUE nor --raw")
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.explain(key).pipeline  # refuses a bad key before anything is asked for
        if generate:
            value = _generated(registry.plan, key)
        elif value is None:
            value = read_value(key, raw=raw)
        else:
            settings.warn(
                "a value on the command line is seen in the list of processes and stays in the shell's "
                "history; pipe it in, or leave it out to be asked for it"
            )
        absent = registry.absent_store(key) if registry.plan.origin != "own" else None
        registry.set_secret(key, value)
        if absent is not None and registry.absent_store(key) is None:
            settings.warn(f"{absent}: made anew; secrets that others have stored are not in it")
        if settings.json:
            output.as_json({"key": key, "pipeline": pipeline, "generated": generate})


def _generated(plan: Plan, key: str) -> str:
    from strongroom.generators import generate_password

    declared = next(
        (secret for secret in plan.secrets.values() if secret.key == key and secret.generate), None
    )
    return generate_password(**(dict(declared.generate or {}) if declared is not None else {}))


def read_value(key: str, *, raw: bool) -> str:
    """Return a value from stdin, or from whoever sits at the terminal.

    Raises:
        UsageError: It is not UTF-8 text.
    """
    if sys.stdin.isatty():
        import getpass

        from strongroom.errors import show_key

        return getpass.getpass(f"Value of {show_key(key)}: ")
    data = sys.stdin.buffer.read()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is None:
        raise errors.UsageError("stdin is not UTF-8 text", hint="encode it first, for example with base64")
    return text if raw else text.removesuffix("\n")


@command("delete")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=completions.keys)
def delete_command(settings: Settings, keys: Sequence[str]) -> int:
    """Delete the secrets under all KEYs; those that are not there are told, the others deleted.

    Example: strongroom delete database/password old/token
    """
    code, deleted = 0, []
    with settings.registry() as registry:
        for key in keys:
            registry.explain(key)  # refuses a bad key before any is deleted
        for key in dict.fromkeys(keys):
            try:
                registry.delete_secret(key)
                deleted.append(key)
            except SecretNotFoundError as error:
                code = errors.tell(error, as_json=settings.json, debug=settings.debug)
    if settings.json and deleted:
        output.as_json({"deleted": deleted})
    return code


@command("list")
@click.argument("prefix", required=False, default="")
@click.option("--tree", is_flag=True, help="Draw the keys by their segments.")
def list_command(settings: Settings, *, prefix: str, tree: bool) -> None:
    """List the keys, or those that begin with PREFIX, one a line.

    Example: strongroom list database/
    """
    with settings.registry() as registry:
        keys = registry.list_secrets(prefix)
    if settings.json:
        output.as_json({"keys": keys})
    else:
        output.lines(_tree(keys) if tree else keys)


def _tree(keys: Sequence[str]) -> list[str]:
    nested: dict[str, Any] = {}
    for key in keys:
        level = nested
        for segment in key.split("/"):
            level = level.setdefault(segment, {})
    return _branches(nested, "")


def _branches(level: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for place, (segment, below) in enumerate(level.items(), 1):
        last = place == len(level)
        lines.append(f"{indent}{'└── ' if last else '├── '}{segment}")
        lines += _branches(below, indent + ("    " if last else "│   "))
    return lines


@command("history")
@click.argument("key", shell_complete=completions.keys)
def history_command(settings: Settings, key: str) -> None:
    """List the versions of KEY, newest first, without values.

    Example: strongroom history database/password
    """
    with settings.registry() as registry:
        versions = registry.list_versions(key)
    rows = [
        {
            "version": one.version,
            "created_at": one.created_at.isoformat() if one.created_at is not None else None,
            "state": one.state,
        }
        for one in versions
    ]
    if settings.json:
        output.as_json({"key": key, "versions": rows})
    else:
        shown = ([str(row["version"]), row["created_at"] or "unknown", str(row["state"])] for row in rows)
        output.table(["version", "created", "state"], shown)
