"""Reading files of names and values: `.env`, JSON and YAML."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from strongroom.cli.failures import UsageError

__all__ = ["read_dotenv", "read_table"]

_MAX_BYTES = 64 << 20


def read_table(path: Path) -> dict[str, str]:
    """Return the names and values of a file, told by its ending: `.json`, `.yaml`, `.yml`, else `.env`.

    Raises:
        UsageError: It is not of that format, or a value is no scalar; no value is told.
    """
    text = _text(path)
    if path.suffix == ".json":
        return _flat(_parsed(path, json.loads, text), path)
    if path.suffix in {".yaml", ".yml"}:
        import yaml

        # The base loader: every scalar is its own text, so `0123` and `no` stay what they are.
        return _flat(_parsed(path, lambda said: yaml.load(said, Loader=yaml.BaseLoader), text), path)  # noqa: S506  # makes text only
    return _dotenv(path, text)


def read_dotenv(path: Path) -> dict[str, str]:
    """Return what a `.env` file says, each value as it is written: `${NAME}` in it is not replaced.

    Raises:
        UsageError: A line is no assignment; it is told by its number.
    """
    return _dotenv(path, _text(path))


def _dotenv(path: Path, text: str) -> dict[str, str]:
    # Of the text, not the file: a pipe can be read only once.
    import io

    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            raise UsageError(f"{path}:{binding.original.line}: no assignment of the form NAME=value")
        if binding.key is not None:
            if binding.value is None:
                raise UsageError(f"{path}:{binding.original.line}: {binding.key} has no value; write NAME=")
            found[binding.key] = binding.value
    return found


def _text(path: Path) -> str:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except FileNotFoundError:
        data = None
    if data is None:
        raise UsageError(f"there is no file {path}")
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass  # raised below: the error's context would hold what the file holds
    raise UsageError(f"{path} is not UTF-8 text")


def _parsed(path: Path, parse: Any, text: str) -> Any:
    where = ""
    try:
        return parse(text)
    except json.JSONDecodeError as error:
        where = f":{error.lineno}:{error.colno}"
    except Exception as error:  # noqa: BLE001  # a parser's message quotes the file
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
    raise UsageError(f"{path}{where}: not {path.suffix[1:].upper()}")


def _flat(data: Any, path: Path) -> dict[str, str]:
    if not isinstance(data, dict):
        raise UsageError(f"{path}: expected names and values at the top")
    found: dict[str, str] = {}
    for name, value in data.items():
        _add(found, str(name), value, path)
    return found


def _add(found: dict[str, str], name: str, value: Any, path: Path) -> None:
    """Add a value, the members of a mapping under `name/member`."""
    if isinstance(value, dict):
        for member, inner in value.items():
            _add(found, f"{name}/{member}", inner, path)
    elif isinstance(value, bool):
        found[name] = "true" if value else "false"
    elif isinstance(value, str | int | float):
        found[name] = str(value)
    else:
        raise UsageError(f"{path}: {name} is a {type(value).__name__}, expected text or a number")
