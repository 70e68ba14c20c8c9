"""YAML as a tree of nodes that know their position, with every problem collected.

Scalars are typed by one short rule instead of YAML's: `null`, `~` and nothing are null; `true` and
`false`; decimal numbers without a leading zero; everything else, and all that is quoted, is text.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn, Self

import yaml

from strongroom.runtime.frozen import NamedTuple

__all__ = ["MAX_BYTES", "Document", "Node", "Path", "Problem", "node_of", "read_document", "show_path"]

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 40

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?")
_WORDS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}
# The following are compiled as they are used, for messages: most specs are right.
_PLAIN_KEY = r"[A-Za-z0-9_./-]{1,128}"
_QUOTED = r"'[^']*'|\"[^\"]*\""
_MARK = r"'[,:?\[\]{}-]'"
"""Punctuation of YAML that the parser expects; anything else that it quotes may be a piece of the file."""
_NOT_YAML = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
"""A character that YAML does not allow; the parser counts it in bytes, and in no lines."""
# libyaml's parser checks neither depth nor C stack in Python's way, so only its event stream is used.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Problem(NamedTuple):
    """One thing that is wrong, and where; lines and columns count from 1, 0 means unknown."""

    line: int
    column: int
    path: str
    message: str

    def format(self, source: str) -> str:
        """Return `file:line:column: path: what`."""
        where = f"{source}:{self.line}:{self.column}" if self.line else source
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class Node:
    """A scalar, a list of nodes or a mapping of text to nodes.

    Attributes:
        value: What it is.
        line: The line where it is written; 0 if it was not read.
        column: The column.
        size: How many nodes it has, itself included.
        depth: How many levels it has; known only of what was read.
        keys: Where the keys of a mapping are written.
    """

    __slots__ = ("column", "depth", "keys", "line", "size", "value")

    def __init__(
        self,
        value: Scalar | list[Node] | dict[str, Node],
        line: int = 0,
        column: int = 0,
        *,
        size: int = 1,
        depth: int = 1,
        keys: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        self.value = value
        self.line, self.column = line, column
        self.size, self.depth = size, depth
        self.keys = {} if keys is None else keys

    @property
    def mapping(self) -> dict[str, Node]:
        """The members of a mapping; nothing for other nodes."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The items of a list; nothing for other nodes."""
        return self.value if isinstance(self.value, list) else []

    def data(self) -> Any:
        """Return the node as plain Python data."""
        if isinstance(self.value, dict):
            return {key: child.data() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.data() for child in self.value]
        return self.value

    def at(self, path: Path) -> Node:
        """Return the node at `path`, or the last one on the way to it that exists."""
        node = self
        for part in path:
            child = node._child(part)
            if child is None:
                break
            node = child
        return node

    def key_position(self, key: str) -> tuple[int, int]:
        """Return where `key` of this mapping is written."""
        return self.keys.get(key, (self.line, self.column))

    def scalars(self, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        """Walk the scalars below this node with their paths."""
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.scalars((*path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield from child.scalars((*path, index))
        else:
            yield path, self

    def kind(self) -> str:
        """Return the kind of the node for a message, without its content."""
        match self.value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case bool():
                return "true or false"
            case int() | float():
                return "a number"
            case None:
                return "nothing"
            case _:
                return "text"

    def _child(self, part: str | int) -> Node | None:
        if isinstance(self.value, dict):
            return self.value.get(str(part))
        if isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            return self.value[part]
        return None

    def merged(self, over: Node) -> Node:
        """Return this node with `over` merged deeply over it.

        Lists and mappings whose `type` changes are replaced whole.
        """
        if not isinstance(self.value, dict) or not isinstance(over.value, dict):
            return over
        if "type" in over.value and "type" in self.value:
            here, there = self.value["type"].value, over.value["type"].value
            if here != there:
                return over
        joined = dict(self.value)
        for key, child in over.value.items():
            joined[key] = joined[key].merged(child) if key in joined else child
        return Node(joined, over.line, over.column, size=self.size + over.size, keys=self.keys | over.keys)


class Document(NamedTuple):
    """A read document: its root, or None after a syntax error, and what is wrong so far."""

    root: Node | None
    problems: list[Problem]


def node_of(data: Any, path: Path = (), problems: list[Problem] | None = None) -> Node:
    """Return plain Python data as nodes without positions.

    Args:
        data: Mappings, lists, tuples, paths and scalars.
        path: Where it is in the whole.
        problems: Gets what cannot be in a spec, in whose place the node of None is.

    Raises:
        TypeError: It is nested too deeply; or, without `problems`, something in it cannot be in a spec.
    """
    if len(path) > MAX_DEPTH:
        message = f"nested deeper than {MAX_DEPTH} levels"
        raise TypeError(message)
    if isinstance(data, Mapping):
        children = {}
        for key, value in data.items():
            if isinstance(key, str):
                children[key] = node_of(value, (*path, key), problems)
            else:
                _refuse(f"a key of a mapping must be text, got {type(key).__name__}", path, problems)
        return Node(children, size=1 + sum(child.size for child in children.values()))
    if isinstance(data, list | tuple):
        entries = [node_of(value, (*path, at), problems) for at, value in enumerate(data)]
        return Node(entries, size=1 + sum(entry.size for entry in entries))
    if data is None or isinstance(data, str | int | float | bool):
        return Node(data)
    if hasattr(data, "__fspath__"):
        return Node(str(data))
    _refuse(f"expected a mapping, list or scalar, got {type(data).__name__}", path, problems)
    return Node(None)


def _refuse(message: str, path: Path, problems: list[Problem] | None) -> None:
    if problems is None:
        raise TypeError(message)
    problems.append(Problem(0, 0, show_path(path), message))


def show_path(path: Path) -> str:
    """Return `path` for a message, as in `routes[0].prefix`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        else:
            # A key that is not a name may be a value, after a forgotten quote.
            text = part if re.fullmatch(_PLAIN_KEY, part) else "'…'"
            shown += f".{text}" if shown else text
    return shown


def read_document(data: bytes) -> Document:
    """Read one YAML document; nothing is raised, all problems are in the result."""
    if len(data) > MAX_BYTES:
        return Document(None, [Problem(1, 1, "", f"the spec is larger than {MAX_BYTES >> 20} MiB")])
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line, column = _end_of(error.object[: error.start].decode())
        return Document(None, [Problem(line, column, "", "the spec is not UTF-8")])
    return _Reader(text).read()


class _Stop(Exception):  # noqa: N818  # control flow, never seen outside
    """Reading cannot go on; the problem is already noted."""


class _Reader:
    """Builds the tree from the parser's events."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.problems: list[Problem] = []
        self.anchors: dict[str, Node | None] = {}
        self.size = 0
        self.events: Iterator[Any] = iter(())

    def read(self) -> Document:
        root: Node | None = None
        try:
            self.events = iter(yaml.parse(self.text, Loader=_Loader))
            root = self.document()
        except _Stop:
            root = None
        except yaml.YAMLError as error:
            self.problems.append(_syntax_problem(error, self.text))
            root = None
        return Document(root, self.problems)

    def document(self) -> Node | None:
        next(self.events)  # the stream's start
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            self.problems.append(Problem(1, 1, "", "the spec is empty"))
            return None
        root = self.node(next(self.events), ())
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, yaml.StreamEndEvent):
            self.note(after, (), "a second document; a spec is one document")
        return root

    def note(self, event: Any, path: Path, message: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(mark.line + 1, mark.column + 1, show_path(path), message))

    def node(self, event: Any, path: Path) -> Node:
        if len(path) > MAX_DEPTH:
            self.too_deep(event)
        if isinstance(event, yaml.AliasEvent):
            node = self.alias(event, path)
        else:
            if event.tag is not None:
                self.note(event, path, "a tag; the option decides the type of its value")
            if event.anchor is not None:
                self.anchors[event.anchor] = None
            node = self.content(event, path)
            if event.anchor is not None:
                self.anchors[event.anchor] = node
        return node

    def too_deep(self, event: Any) -> NoReturn:
        self.note(event, (), f"nested deeper than {MAX_DEPTH} levels")
        raise _Stop

    def grow(self, event: Any, size: int) -> None:
        self.size += size
        if self.size > MAX_NODES:
            self.note(event, (), f"more than {MAX_NODES} values, aliases counted as often as they are used")
            raise _Stop

    def alias(self, event: Any, path: Path) -> Node:
        # The anchor's name is not shown: an unquoted password may begin with an asterisk.
        if event.anchor not in self.anchors:
            self.note(event, path, "an alias without its anchor; quote text that begins with '*'")
            return Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        node = self.anchors[event.anchor]
        if node is None:
            self.note(event, path, "an alias inside its own anchor")
            return Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        self.grow(event, node.size)
        if len(path) + node.depth - 1 > MAX_DEPTH:
            self.too_deep(event)
        return node

    def content(self, event: Any, path: Path) -> Node:
        self.grow(event, 1)
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.ScalarEvent):
            return Node(self.scalar(event, path), line, column)
        if isinstance(event, yaml.SequenceStartEvent):
            entries: list[Node] = []
            while not isinstance(child := next(self.events), yaml.SequenceEndEvent):
                entries.append(self.node(child, (*path, len(entries))))
            size = 1 + sum(entry.size for entry in entries)
            return Node(entries, line, column, size=size, depth=_levels(entries))
        return self.mapping(line, column, path)

    def scalar(self, event: Any, path: Path) -> Scalar:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.note(event, path, "a lone surrogate, which is not Unicode text")
            return None
        return text if event.style else plain_scalar(text)

    def mapping(self, line: int, column: int, path: Path) -> Node:
        members: dict[str, Node] = {}
        positions: dict[str, tuple[int, int]] = {}
        merges: list[tuple[Any, Node]] = []
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            value_event = next(self.events)
            if key == "<<" and not event.style:
                merges.append((value_event, self.node(value_event, (*path, "<<"))))
                continue
            value = self.node(value_event, (*path, key if key is not None else "?"))
            if key is None:
                continue
            if key in members:
                first = positions[key]
                self.note(event, (*path, key), f"duplicate key, first at {first[0]}:{first[1]}")
                continue
            members[key] = value
            positions[key] = (event.start_mark.line + 1, event.start_mark.column + 1)
        for value_event, node in merges:
            self.merge(value_event, node, members, positions, path)
        children = members.values()
        size = 1 + sum(child.size for child in children)
        return Node(members, line, column, size=size, depth=_levels(children), keys=positions)

    def key(self, event: Any, path: Path) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            if event.tag is not None:
                self.note(event, path, "a tag; keys are text")
            if event.anchor is not None:
                self.anchors[event.anchor] = Node(event.value)
            self.grow(event, 1)
            return str(event.value)
        self.note(event, path, "a key that is not text")
        self.node(event, (*path, "?"))
        return None

    def merge(
        self,
        event: Any,
        node: Node,
        members: dict[str, Node],
        positions: dict[str, tuple[int, int]],
        path: Path,
    ) -> None:
        sources = node.items if isinstance(node.value, list) else [node]
        for source in sources:
            if not isinstance(source.value, dict):
                self.note(event, path, "a merge key takes a mapping or a list of mappings")
                return
            for key, child in source.value.items():
                if key not in members:
                    members[key] = child
                    positions[key] = source.key_position(key)


def _levels(children: Iterable[Node]) -> int:
    return 1 + max((child.depth for child in children), default=0)


def plain_scalar(text: str) -> Scalar:
    """Return what an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    number = float(text) if match.group(1) else int(text)
    if str(number) == text:
        return number
    return _WrittenFloat(text) if match.group(1) else _WrittenInt(text)


class _Written:
    """A number that keeps the text as written if Python would write it differently: `3.10`, `-0`."""

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)  # type: ignore[call-arg]  # the number's own
        number._text = text
        return number

    _text: str

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self._text,)


class _WrittenInt(_Written, int):
    pass


class _WrittenFloat(_Written, float):
    pass


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    """Return what the parser says of `text`, without the pieces of it that it quotes."""
    mark = getattr(error, "problem_mark", None)
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    if mark is None and (refused := re.search(_NOT_YAML, text)) is not None:
        line, column = _end_of(text[: refused.start()])
        return Problem(line, column, "", "not YAML: a character that YAML does not allow")
    at = text.split("\n")[line - 1 : line] if mark is not None else []
    if at and at[0][column - 1 : column] == "\t":
        return Problem(line, column, "", "not YAML: a tab; YAML indents by spaces alone")
    said = getattr(error, "problem", None) or "the text cannot be read"
    shown = re.sub(_QUOTED, lambda found: found[0] if re.fullmatch(_MARK, found[0]) else "…", str(said))
    return Problem(line, column, "", f"not YAML: {shown}")


def _end_of(text: str) -> tuple[int, int]:
    """Return line and column of what follows `text`."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")
