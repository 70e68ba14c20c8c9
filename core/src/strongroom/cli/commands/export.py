"""`strongroom export`: secrets in the format of another tool, exactly or not at all."""

from __future__ import annotations

import json
import re
import secrets
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, output
from strongroom.cli.app import command
from strongroom.cli.child.environment import refuse_dangerous, refuse_undeclared
from strongroom.cli.errors import UsageError
from strongroom.cli.selection import choose, read
from strongroom.masking.limits import MIN_CHARACTERS

if TYPE_CHECKING:
    from strongroom.cli.context import Settings

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_MASKED = frozenset({"integer", "boolean", "port"})
_NO_VARIABLE = re.compile(r"[^A-Za-z0-9_]")


@command("export")
@click.option(
    "--format",
    "form",
    type=click.Choice(["env", "dotenv", "json", "yaml", "docker", "github"]),
    required=True,
    help="env for sh, dotenv for .env files, json, yaml, docker for --env-file, github for $GITHUB_ENV.",
)
@click.option("--prefix", metavar="P", help="All keys that begin with P, in place of the declared secrets.")
@click.option(
    "--group",
    metavar="G",
    shell_complete=completions.groups,
    help="Only the declared secrets of this group.",
)
@click.option("--exported", is_flag=True, help="With env: put `export` before each assignment.")
def export_command(
    settings: Settings, *, form: str, prefix: str | None, group: str | None, exported: bool
) -> None:
    """Print the declared secrets by name, or all keys under a prefix; keys become names such as DATABASE_URL.

    What a format cannot hold, such as a newline in docker's, is refused, and nothing is printed; so are the
    names that `run` refuses, such as PATH.

    Example: strongroom export --format json
    """
    if prefix is not None and group is not None:
        raise UsageError("--prefix takes keys, --group declared secrets: choose one")
    if exported and form != "env":
        raise UsageError("--exported is for --format env")
    open_ones: set[str] = set()
    with settings.registry() as registry:
        if prefix is None:
            found = read(registry, choose(registry.plan, group=group))
            values = {name: one.text for name, one in found.items() if one.text is not None}
            open_ones = {
                name for name, one in found.items() if not one.plan.mask or one.plan.type in _NOT_MASKED
            }
        else:
            values = registry.get_secrets(registry.list_secrets(prefix))
    if form not in {"json", "yaml"}:
        if prefix is None:
            refuse_dangerous(values)
        else:
            values = _named(values)
            refuse_undeclared(values)
    text = as_env(values, before="export ") if exported else _FORMATS[form](values)
    if form == "github":
        # On stderr, which the runner reads too: stdout goes to the file that GITHUB_ENV names.
        masked = [value for name, value in values.items() if name not in open_ones]
        click.echo(_masks(masked), nl=False, err=True)
    output.raw(text.encode())


def _named(values: Mapping[str, str]) -> dict[str, str]:
    """Give keys the names of variables: `database/password` is DATABASE_PASSWORD."""
    named: dict[str, str] = {}
    keys: dict[str, str] = {}
    for key, value in values.items():
        name = _NO_VARIABLE.sub("_", key).upper()
        name = f"_{name}" if name[0].isdigit() else name
        if name in named:
            raise UsageError(f"{keys[name]!r} and {key!r} would both be {name}", hint="use json or yaml")
        named[name], keys[name] = value, key
    return named


def as_env(values: Mapping[str, str], *, before: str = "") -> str:
    """Return assignments that `sh` reads back exactly, each with `before` in front."""
    for name, value in values.items():
        _refuse(name, value, "\0", "NUL")
    return "".join(f"{before}{_variable(name)}={shlex.quote(value)}\n" for name, value in values.items())


def as_dotenv(values: Mapping[str, str]) -> str:
    """Return lines that the readers of `.env` files take alike, and refuse what they do not."""
    return "".join(f"{_variable(name)}={_dotenv_quoted(name, value)}\n" for name, value in values.items())


def _dotenv_quoted(name: str, value: str) -> str:
    for text, told in (
        ("\0", "NUL"),
        ("\r", "a carriage return"),
        ("${", "`${`, which some readers fill in"),
    ):
        _refuse(name, value, text, told)
    if "'" not in value:
        # In single quotes some readers take a backslash before a backslash, or before the end, for an escape.
        _refuse(name, f"{value}'", "\\'", "a backslash at its end")
        _refuse(name, value, "\\\\", "two backslashes in a row")
        return f"'{value}'"
    for character in '"\\$`\n':
        _refuse(name, value, character, f"both ' and {character!r}")
    return f'"{value}"'


def as_docker(values: Mapping[str, str]) -> str:
    """Return lines for `docker run --env-file`, which knows neither quotes nor escapes."""
    for name, value in values.items():
        for character, told in (("\n", "a newline"), ("\r", "a carriage return"), ("\0", "NUL")):
            _refuse(name, value, character, told)
    return "".join(f"{_variable(name)}={value}\n" for name, value in values.items())


def as_github(values: Mapping[str, str]) -> str:
    """Return lines for the file that GITHUB_ENV names, each value between delimiters that are not in it."""
    lines = []
    for name, value in values.items():
        _refuse(name, value, "\0", "NUL")
        _refuse(name, value, "\r", "a carriage return")
        delimiter = f"EOF_{secrets.token_hex(8)}"
        lines.append(f"{_variable(name)}<<{delimiter}\n{value}\n{delimiter}\n")
    return "".join(lines)


def _masks(values: Iterable[str]) -> str:
    """Return the commands that have GitHub mask every line of `values` from now on."""
    lines = dict.fromkeys(line for value in values for line in value.split("\n"))
    escaped = (line.replace("%", "%25").replace("\r", "%0D") for line in lines if len(line) >= MIN_CHARACTERS)
    return "".join(f"::add-mask::{line}\n" for line in escaped)


def as_json(values: Mapping[str, str]) -> str:
    """Return one JSON object."""
    return json.dumps(dict(values), indent=2) + "\n"


def as_yaml(values: Mapping[str, str]) -> str:
    """Return a YAML mapping of text to text."""
    import yaml

    # Quoted throughout, so that no reader takes `on` or `0123` for anything but text.
    text: str = yaml.safe_dump(
        dict(values), default_style='"', allow_unicode=False, width=1 << 30, sort_keys=False
    )
    return text


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a variable", hint="use json or yaml")
    return name


def _refuse(name: str, value: str, character: str, told: str) -> None:
    if character in value:
        raise UsageError(f"{name} holds {told}, which this format cannot hold", hint="use json or yaml")


_FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "env": as_env,
    "dotenv": as_dotenv,
    "docker": as_docker,
    "github": as_github,
    "json": as_json,
    "yaml": as_yaml,
}
