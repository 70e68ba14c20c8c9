"""Reading files of names and values: `.env`, JSON and YAML."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from strongroom.cli.errors import UsageError
from strongroom.cli.formats.ciphertext import refuse_ending, refuse_sealed_file, refuse_sealed_values

__all__ = ["FORMATS", "read_dotenv", "read_table"]

FORMATS: Final = ("env", "json", "yaml")
_BY_ENDING: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_MAX_BYTES: Final = 64 << 20
_MAX_VALUES: Final = 100_000
_DEPTH: Final = 50
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TEXT: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset({_TEXT + "str", _TEXT + "map", _TEXT + "seq", "!"})
_FILLED_IN: Final = re.compile(r"\$\{[A-Za-z_]")


def read_table(path: Path, warn: Callable[[str], object], kind: str | None = None) -> dict[str, str]:
    """Return the names and values of a file, those of a mapping under `name/member`.

    Text and numbers are taken as they are written: `0123`, `1.10` and, in YAML, `no`.

    Args:
        path: The file; `-` is standard input.
        warn: Called with what may be meant otherwise than it is read.
        kind: Its format, one of `FORMATS`; by default told by its ending, in any case: `.json`, `.yaml`,
            `.yml`, else `.env`.

    Raises:
        UsageError: It is not of that format, or of one that is not read, or encrypted; a name is there twice;
            a value is null, a list, or of another type. Of the file, only names and places are shown.
    """
    if kind is None:
        refuse_ending(path)
    kind = kind or _BY_ENDING.get(path.suffix.lower(), "env")
    read = {"json": _json, "yaml": _yaml, "env": _dotenv}[kind]
    found = read(path, _text(path), warn)
    refuse_sealed_values(path, kind, found)
    return found


def read_dotenv(path: Path, warn: Callable[[str], object]) -> dict[str, str]:
    """Return what a `.env` file says, each value as it is written: `${NAME}` in it is not replaced.

    Raises:
        UsageError: A line is not an assignment (its number is given); or the file is encrypted.
    """
    return read_table(path, warn, "env")


# --- .env ---


def _dotenv(path: Path, text: str, warn: Callable[[str], object]) -> dict[str, str]:
    # Of the text, not the file: a pipe can be read only once.
    import io

    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    lines: dict[str, list[int]] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        if binding.error:
            shell = "'\"'\"'" in binding.original.string
            raise UsageError(
                f"{path}:{line}: not an assignment of the form NAME=value",
                hint="it is quoted for a shell: strongroom export --format dotenv writes what is read here"
                if shell
                else None,
            )
        if binding.key is None:
            continue
        if binding.value is None:
            # Not what stands there: it may be a line of a key, the commonest mistake.
            raise UsageError(
                f"{path}:{line}: no value: write NAME=", hint="a value of several lines stands in quotes"
            )
        found[binding.key] = binding.value
        lines.setdefault(binding.key, []).append(line)
    _warn(path, found, lines, warn)
    return found


def _blank_lines(said: str) -> int:
    """Return how many lines of what the parser took as one are before its text."""
    return said[: len(said) - len(said.lstrip())].count("\n")


def _warn(
    path: Path, found: dict[str, str], lines: dict[str, list[int]], warn: Callable[[str], object]
) -> None:
    for name, told in lines.items():
        if len(told) > 1:
            numbers = ", ".join(map(str, told))
            warn(f"{path}: {name} is there {len(told)} times (lines {numbers}): the last counts")
    filled = [name for name, value in found.items() if _FILLED_IN.search(value)]
    if filled:
        places = ", ".join(f"{name} (line {lines[name][-1]})" for name in filled)
        warn(
            f"{path}: the ${{…}} in {places} is taken as it stands, where other readers put a value in: "
            "declare it in the spec with `compose:`"
        )


# --- JSON ---


class _NotTakenError(Exception):
    """A name that is there twice, or a number that JSON does not have."""


def _json(path: Path, text: str, _: Callable[[str], object]) -> dict[str, str]:
    wrong = where = ""
    try:
        # Numbers keep their text: 1.10 is a version, and 1e3 perhaps a password.
        data = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=_once
        )
    except _NotTakenError as error:
        wrong = str(error)
    except json.JSONDecodeError as error:
        wrong, where = "not JSON", f":{error.lineno}:{error.colno}"
    except RecursionError:
        wrong = "nested too deep"
    else:
        return _flat(path, data)
    raise UsageError(f"{path}{where}: {wrong}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise _NotTakenError(f"{name} is there twice")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise _NotTakenError(f"{name} is not JSON; quote it where it is text")


def _flat(path: Path, data: Any) -> dict[str, str]:
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected names and values at the top")
    found: dict[str, str] = {}
    _add_members(path, found, "", data, _DEPTH)
    return found


def _add_members(path: Path, found: dict[str, str], before: str, data: dict[str, Any], depth: int) -> None:
    """Add the values of a mapping, those of one within it under `name/member`."""
    for member, value in data.items():
        name = before + member
        if isinstance(value, dict) and depth:
            _add_members(path, found, f"{name}/", value, depth - 1)
        elif isinstance(value, bool):
            _add(path, found, name, "true" if value else "false")
        elif isinstance(value, str):
            _add(path, found, name, value)
        else:
            what = {"list": "a list", "dict": "nested too deep"}.get(type(value).__name__, "null")
            raise UsageError(f"{path}: {name} is {what}, expected text or a number")


def _add(path: Path, found: dict[str, str], name: str, value: str, where: str = "") -> None:
    if name in found:
        raise UsageError(f"{path}{where}: {name} is there twice")
    if len(found) >= _MAX_VALUES:
        raise UsageError(f"{path} has more than {_MAX_VALUES} values")
    found[name] = value


# --- YAML ---


def _yaml(path: Path, text: str, _: Callable[[str], object]) -> dict[str, str]:
    import yaml

    where = ""
    try:
        # The base loader gives no scalar a type: every one is its own text.
        top = yaml.compose(text, Loader=yaml.BaseLoader)
    except Exception as error:  # noqa: BLE001  # a parser's message quotes the file
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
    else:
        if not isinstance(top, yaml.MappingNode):
            raise UsageError(f"{path}: expected names and values at the top")
        found: dict[str, str] = {}
        _add_nodes(path, found, "", top, _DEPTH)
        return found
    raise UsageError(f"{path}{where}: not YAML")


def _add_nodes(path: Path, found: dict[str, str], before: str, mapping: Any, depth: int) -> None:
    """Add the values of a mapping, those of one within it under `name/member`."""
    for key, node in mapping.value:
        where = f":{key.start_mark.line + 1}:{key.start_mark.column + 1}"
        if key.id != "scalar" or key.tag not in _PLAIN_TAGS or (key.value == "<<" and key.style is None):
            raise UsageError(f"{path}{where}: expected a name; merge keys are not read")
        name = before + key.value
        if node.tag not in _PLAIN_TAGS:
            raise UsageError(
                f"{path}{where}: {name} has the tag {node.tag.replace(_TEXT, '!!')}, which is not read",
                hint="write it as text"
                if node.tag != "!vault"
                else "ansible -m debug shows what it stands for",
            )
        if node.id == "mapping" and depth:
            _add_nodes(path, found, f"{name}/", node, depth - 1)
        elif node.id == "scalar" and not (node.style is None and node.value in _NULLS):
            _add(path, found, name, node.value, where)
        else:
            what = {"sequence": "a list", "mapping": "nested too deep"}.get(node.id, "null")
            raise UsageError(f"{path}{where}: {name} is {what}, expected text; quote it where it is text")


# --- files ---


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        data = None
    if data is None:
        raise UsageError(f"there is no file {path}")
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    refuse_sealed_file(path, data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # raised below: the error's context would hold what the file holds
    raise UsageError(f"{path} is not UTF-8 text")
