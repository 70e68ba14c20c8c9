"""Reads files of names and values: `.env`, Docker's own, JSON, YAML, and exports of KeePass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.errors import UsageError
from strongroom.cli.formats.ciphertext import refuse_ending, refuse_sealed_file, refuse_sealed_values
from strongroom.cli.standard_streams import read_stdin

if TYPE_CHECKING:
    from strongroom.cli.formats.dotenv_file import Assignment

__all__ = ["FORMATS", "read_dotenv", "read_table"]

FORMATS: Final = ("env", "json", "yaml", "docker", "keepass")
_NAME_FOR_DOCKER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # containers have `discovery.type`, too
_BY_ENDING: Final = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_MAX_BYTES: Final = 64 << 20
_MAX_VALUES: Final = 100_000
_MOST_SHOWN: Final = 20
_MOST_PROBLEMS: Final = 1000
_DEPTH: Final = 50
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TEXT: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = frozenset({_TEXT + "str", _TEXT + "map", _TEXT + "seq", "!"})


def read_table(
    path: Path,
    warn: Callable[[str], object],
    kind: str | None = None,
    *,
    left_out: Callable[[str], str | None] | None = None,
) -> dict[str, str]:
    """Return the names and values of a file; members of a mapping are called `name/member`.

    Text and numbers are taken as they are written: `0123`, `1.10` and, in YAML, `no`.

    Args:
        path: The file; `-` is standard input.
        warn: Called with warnings about text that may mean something else.
        kind: Its format, one of `FORMATS`; None for that of its extension, in any case: `.json`, `.yaml`,
            `.yml`, else `.env`.
        left_out: Returns why a name of a variable is left out; None if it is not.

    Raises:
        UsageError: It does not have that format, or is encrypted; a name is there twice; a value is null, a
            list, or of another type. The message has only names and places from the file.
    """
    is_given = kind is not None
    if kind is None:
        refuse_ending(path)
    kind = kind or _BY_ENDING.get(path.suffix.lower(), "env")
    if kind == "env":
        return _expanded(read_dotenv(path, warn, left_out=left_out, is_given=is_given))
    readers = {"json": _json, "yaml": _yaml, "docker": _docker, "keepass": _keepass}
    values = readers[kind](path, _text(path), warn)
    refuse_sealed_values(path, kind, values)
    if kind == "docker" and left_out is not None:
        reasons = {name: reason for name in values if (reason := left_out(name)) is not None}
        for name, reason in reasons.items():
            warn(f"{path}: {name} is left out: {reason}")
            del values[name]
    return values


def read_dotenv(
    path: Path,
    warn: Callable[[str], object],
    *,
    left_out: Callable[[str], str | None] | None = None,
    variables: bool = False,
    is_given: bool = True,
) -> dict[str, Assignment]:
    """Return the assignments of a `.env` file; see `read_assignments`.

    Raises:
        UsageError: Lines are not assignments (their numbers are given); or the file is encrypted; or it
            looks like JSON, unless its format `is_given`.
    """
    from strongroom.cli.formats.dotenv_file import read_assignments

    text = _text(path)
    if not is_given and text.lstrip().startswith("{"):
        raise UsageError(f"{path} looks like JSON", hint="give --format json, or which other format it has")
    return read_assignments(path, text, warn, left_out=left_out, variables=variables, unsealed_only=True)


def _expanded(found: Mapping[str, Assignment]) -> dict[str, str]:
    from strongroom.cli.formats.dotenv_file import expanded

    return expanded(found)


class _Names:
    """The values of a file by their names, and its problems."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, str] = {}
        self._problems: list[str] = []
        self._hint: str | None = None
        self._mappings = 0

    def enter(self) -> None:
        """Count a mapping: with aliases, a small YAML file may have very many, even if they are empty."""
        self._mappings += 1
        if self._mappings > _MAX_VALUES:
            raise UsageError(f"{self._path} has more than {_MAX_VALUES} mappings")

    def add(self, name: str, value: str, where: str = "") -> None:
        """Add a value; a name that is there already is a problem, and too many values are an error."""
        if name in self._values:
            self.refuse(f"{name} is there twice", where)
        elif len(self._values) >= _MAX_VALUES:
            raise UsageError(f"{self._path} has more than {_MAX_VALUES} values")
        else:
            self._values[name] = value

    def refuse(self, problem: str, where: str = "", hint: str | None = None) -> None:
        """Note a problem, and its place, `:line:column`."""
        self._problems.append(f"{self._path}{where}: {problem}")
        self._hint = self._hint or hint
        if len(self._problems) > _MOST_PROBLEMS:  # as above
            self.all()

    def all(self) -> dict[str, str]:
        """Return the values.

        Raises:
            UsageError: There are problems; the message has them, or the first of very many.
        """
        if not self._problems:
            return self._values
        said = self._problems[:_MOST_SHOWN]
        if len(self._problems) > _MOST_SHOWN:
            said.append(f"and {len(self._problems) - _MOST_SHOWN} more")
        raise UsageError("; ".join(said), hint=self._hint)


# --- JSON ---


def _json(path: Path, text: str, _: Callable[[str], object]) -> dict[str, str]:
    names = _Names(path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, value in pairs:
            if name in members:
                names.refuse(f"{name} is there twice")
            members[name] = value
        return members

    def refused(constant: str) -> str:
        names.refuse(f"{constant} is not JSON; quote it if it is text")
        return constant

    wrong = where = ""
    try:
        # Numbers stay as they are written: 1.10 is a version, and 1e3 perhaps a password.
        data = json.loads(
            text, parse_float=str, parse_int=str, parse_constant=refused, object_pairs_hook=once
        )
    except json.JSONDecodeError as error:
        wrong, where = "not JSON", f":{error.lineno}:{error.colno}"
    except RecursionError:
        wrong = "nested too deep"
    else:
        if not isinstance(data, dict):
            raise UsageError(f"{path}: expected names and values at the top")
        _add_members(names, "", data, _DEPTH)
        return names.all()
    raise UsageError(f"{path}{where}: {wrong}")


def _add_members(names: _Names, before: str, data: dict[str, Any], depth: int) -> None:
    """Add the values of a mapping, those of one within it under `name/member`."""
    for member, value in data.items():
        name = before + member
        if isinstance(value, dict) and depth:
            _add_members(names, f"{name}/", value, depth - 1)
        elif isinstance(value, bool):
            names.add(name, "true" if value else "false")
        elif isinstance(value, str):
            names.add(name, value)
        else:
            what = {"list": "a list", "dict": "nested too deep"}.get(type(value).__name__, "null")
            names.refuse(f"{name} is {what}, expected text or a number")


def _docker(path: Path, text: str, _: Callable[[str], object]) -> dict[str, str]:
    """Read what `docker run --env-file` reads: everything behind `=` is the value, quotes and `#` too."""
    names = _Names(path)
    for number, ended in enumerate(text.split("\n"), 1):
        line, where = ended.removesuffix("\r").lstrip(), f":{number}"
        if not line or line.startswith("#"):
            continue
        name, is_given, value = line.partition("=")
        if not _NAME_FOR_DOCKER.fullmatch(name):
            # Nor is it shown, which may be a line of a key.
            names.refuse("the text before = is not a valid name of a variable", where)
        elif not is_given:
            names.refuse("a name alone takes its value from the environment of docker", where)
        else:
            names.add(name, value, where)
    return names.all()


def _keepass(path: Path, text: str, warn: Callable[[str], object]) -> dict[str, str]:
    from strongroom.cli.formats.keepass_export import read_keepass_export

    names = _Names(path)
    for name, value in read_keepass_export(path, text, warn):
        names.add(name, value)
    return names.all()


# --- YAML ---


def _yaml(path: Path, text: str, _: Callable[[str], object]) -> dict[str, str]:
    import yaml

    where, wrong = "", "not YAML"
    try:
        # With the base loader every scalar is text.
        top = yaml.compose(text, Loader=yaml.BaseLoader)
    except Exception as error:  # noqa: BLE001  # a parser's message quotes the file
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        if getattr(error, "context", None) == "expected a single document in the stream":
            wrong = "a second document; make one mapping of both, or import them one by one"
    else:
        if not isinstance(top, yaml.MappingNode):
            raise UsageError(f"{path}: expected names and values at the top")
        names = _Names(path)
        _add_nodes(names, path, "", top, _DEPTH)
        return names.all()
    raise UsageError(f"{path}{where}: {wrong}")


def _add_nodes(names: _Names, path: Path, before: str, mapping: Any, depth: int) -> None:
    """Add the values of a mapping, those of one within it under `name/member`."""
    names.enter()
    own: set[str] = set()
    for key, node in _merged(names, path, mapping, depth):
        where = f":{key.start_mark.line + 1}:{key.start_mark.column + 1}"
        if key.id != "scalar" or key.tag not in _PLAIN_TAGS:
            names.refuse("expected a name", where)
            continue
        name = before + key.value
        if key.value in own:
            names.refuse(f"{name} is there twice", where)
            continue
        own.add(key.value)
        if node.tag not in _PLAIN_TAGS:
            names.refuse(
                f"{name} has the tag {node.tag.replace(_TEXT, '!!')}, which is not read",
                where,
                "write it as text" if node.tag != "!vault" else "ansible -m debug shows what it stands for",
            )
        elif node.id == "mapping" and depth:
            _add_nodes(names, path, f"{name}/", node, depth - 1)
        elif node.id == "scalar" and not (node.style is None and node.value in _NULLS):
            names.add(name, node.value, where)
        else:
            what = {"sequence": "a list", "mapping": "nested too deep"}.get(node.id, "null")
            names.refuse(f"{name} is {what}, expected text; quote it if it is text", where)


def _merged(names_read: _Names, path: Path, mapping: Any, depth: int) -> list[tuple[Any, Any]]:
    """Return the pairs of a mapping, and those of the mappings under `<<` whose names it does not have."""
    own = [(key, node) for key, node in mapping.value if not _is_merge(key)]
    names = {key.value for key, _ in own if key.id == "scalar"}
    for key, node in mapping.value:
        if not _is_merge(key):
            continue
        others = node.value if node.id == "sequence" else [node]
        if not depth or any(other.id != "mapping" for other in others):
            raise UsageError(
                f"{path}:{key.start_mark.line + 1}: expected mappings behind <<, not nested too deeply"
            )
        for other in others:
            names_read.enter()
            for pair in _merged(names_read, path, other, depth - 1):
                if pair[0].id != "scalar" or pair[0].value not in names:
                    own.append(pair)
                    names.add(pair[0].value if pair[0].id == "scalar" else None)
                if len(own) > _MAX_VALUES:
                    raise UsageError(f"{path} has more than {_MAX_VALUES} values")
    return own


def _is_merge(key: Any) -> bool:
    return key.id == "scalar" and key.value == "<<" and key.style is None


# --- files ---


def _text(path: Path) -> str:
    try:
        data = read_stdin() if str(path) == "-" else path.read_bytes()
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
