"""The formats that `export` writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Collection, Mapping

from strongroom.cli.errors import UsageError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CIPHERTEXT = "encrypted:"
_SHELLS_OWN = re.compile(r'[\\"$`]')
_NO_VARIABLE = re.compile(r"[^A-Za-z0-9_]")


def variables(values: Mapping[str, str], declared: Collection[str] = ()) -> dict[str, str]:
    """Return values by names of variables: `database/password` becomes DATABASE_PASSWORD.

    Args:
        values: By key, or by declared name.
        declared: The declared names, which stay as they are.

    Raises:
        UsageError: Two would get the same name.
    """
    named: dict[str, str] = {}
    keys: dict[str, str] = {}
    for key, value in values.items():
        name = key if key in declared else _NO_VARIABLE.sub("_", key).upper()
        name = f"_{name}" if name[0].isdigit() else name
        if name in named:
            raise UsageError(f"{keys[name]!r} and {key!r} would both be {name}", hint="use json or yaml")
        named[name], keys[name] = value, key
    return named


def as_env(values: Mapping[str, str], *, before: str = "") -> str:
    """Return assignments that `sh` reads back exactly, each with `before` in front."""
    for name, value in values.items():
        refuse(name, value, "\0", "NUL")
    pairs = ((variable_name(name), _shell_quoted(value)) for name, value in values.items())
    return "".join(f"{before}{name}={quoted}\n" for name, quoted in pairs)


def _shell_quoted(value: str) -> str:
    # In single quotes python-dotenv, and so `import`, would take such a backslash for an escape.
    if "\\\\" in value or "\\'" in f"{value}'":
        return '"' + _SHELLS_OWN.sub(r"\\\g<0>", value) + '"'
    # zsh takes `=ls` at the beginning, or behind a colon, for the path of a program.
    if "=" in value:
        return "'" + value.replace("'", "'\"'\"'") + "'"
    return shlex.quote(value)


def as_dotenv(values: Mapping[str, str]) -> str:
    """Return lines that all readers of `.env` files read alike; other values are refused."""
    return "".join(f"{variable_name(name)}={_dotenv_quoted(name, value)}\n" for name, value in values.items())


def as_fish(values: Mapping[str, str]) -> str:
    """Return lines that fish reads back exactly, by `| source`."""
    for name, value in values.items():
        refuse(name, value, "\0", "NUL")
    return "".join(f"set -gx {variable_name(name)} {_fish_quoted(value)}\n" for name, value in values.items())


def _fish_quoted(value: str) -> str:
    # In fish's single quotes a backslash escapes itself and a quote, and otherwise stands for itself.
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dotenv_quoted(name: str, value: str) -> str:
    if value.startswith(_CIPHERTEXT):
        raise UsageError(
            f"{name} begins with `{_CIPHERTEXT}`, which dotenvx takes for ciphertext", hint="use json or yaml"
        )
    for text, description in (
        ("\0", "NUL"),
        ("\r", "a carriage return"),
        ("${", "`${`, which some readers fill in"),
    ):
        refuse(name, value, text, description)
    if "'" not in value:
        # In single quotes some readers take a backslash before a backslash, or before the end, for an escape.
        refuse(name, f"{value}'", "\\'", "a backslash at its end")
        refuse(name, value, "\\\\", "two backslashes in a row")
        return f"'{value}'"
    for character in '"\\$`\n':
        refuse(name, value, character, f"both ' and {character!r}")
    return f'"{value}"'


def as_docker(values: Mapping[str, str]) -> str:
    """Return lines for `docker run --env-file`, which has neither quotes nor escapes."""
    for name, value in values.items():
        for character, description in (("\n", "a newline"), ("\r", "a carriage return"), ("\0", "NUL")):
            refuse(name, value, character, description)
    return "".join(f"{variable_name(name)}={value}\n" for name, value in values.items())


def as_github(values: Mapping[str, str]) -> str:
    """Return lines for the file that GITHUB_ENV names, each value between random delimiters."""
    import secrets  # it loads OpenSSL, and only this format needs it

    lines = []
    for name, value in values.items():
        refuse(name, value, "\0", "NUL")
        refuse(name, value, "\r", "a carriage return")
        delimiter = f"EOF_{secrets.token_hex(8)}"
        lines.append(f"{variable_name(name)}<<{delimiter}\n{value}\n{delimiter}\n")
    return "".join(lines)


def as_json(values: Mapping[str, str]) -> str:
    """Return one JSON object."""
    return json.dumps(dict(values), indent=2) + "\n"


def as_yaml(values: Mapping[str, str]) -> str:
    """Return a YAML mapping of text to text."""
    import yaml

    # All values are quoted, so that every reader takes `on` or `0123` for text.
    text: str = yaml.safe_dump(
        dict(values), default_style='"', allow_unicode=False, width=1 << 30, sort_keys=False
    )
    return text


def variable_name(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise UsageError(f"{name!r} is not a valid name of a variable", hint="use json or yaml")
    return name


def refuse(name: str, value: str, character: str, description: str) -> None:
    if character in value:
        raise UsageError(
            f"{name} contains {description}, which this format cannot represent", hint="use json or yaml"
        )


FORMATS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "env": as_env,
    "fish": as_fish,
    "dotenv": as_dotenv,
    "docker": as_docker,
    "github": as_github,
    "json": as_json,
    "yaml": as_yaml,
}
