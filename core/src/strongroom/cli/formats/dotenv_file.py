"""Reads `.env` files as python-dotenv and `sh` do, with references to other names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from strongroom.cli.errors import UsageError
from strongroom.cli.formats.ciphertext import advice, sealed_values

if TYPE_CHECKING:
    from dotenv.parser import Binding

__all__ = ["Assignment", "Name", "expanded", "read_assignments", "template"]

_BEFORE: Final = re.compile(r"\s*(?:export[^\S\n]+)?(?:'([^']+)'|([^=#\s]+))[^\S\n]*=[^\S\n]*")
_SINGLE: Final = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_DOUBLE: Final = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_REST: Final = re.compile(r"[^\S\n]*(?:#[^\n]*)?(?:\n|\Z)")
_IN_TEXT: Final = re.compile(r"(\\?)\$(?:\{([A-Za-z_]\w*)\}|(\{?[A-Za-z_]\w*))", re.ASCII)
_IN_DOUBLE: Final = re.compile(
    r"\\(?P<escaped>[\\'\"abfnrtv$`\n])|\$\{(?P<name>[A-Za-z_]\w*)\}|\$(?P<bare>\{?[A-Za-z_]\w*)", re.ASCII
)
_IN_SHELLS_DOUBLE: Final = re.compile(
    r"\\(?P<escaped>[\\\"$`\n])|\$\{(?P<name>[A-Za-z_]\w*)\}|\$(?P<bare>\{?[A-Za-z_]\w*)", re.ASCII
)
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS: Final = frozenset("&;|<>()`\\")
_MOST_SHOWN: Final = 20


class Name(str):
    """A name in `${NAME}`, which stands for the value of that name."""

    __slots__ = ()


LeftOut = Callable[[str], str | None] | None


class Assignment(NamedTuple):
    """The line of a name, and the texts and names that its value is made of, in their order."""

    line: int
    parts: tuple[str, ...]


class _Value(NamedTuple):
    """A value, where it ends in the file, and whether `sh` might read it otherwise.

    `has_bare`: it has a `$NAME` without braces. `has_pair`: it has two backslashes in single quotes, which
    are read as one. `kept`: the names of each `${NAME}` in single quotes, which python-dotenv would fill in.
    """

    parts: tuple[str, ...]
    end: int
    has_bare: bool
    has_pair: bool = False
    kept: frozenset[str] = frozenset()


def read_assignments(
    path: Path,
    text: str,
    warn: Callable[[str], object],
    *,
    left_out: LeftOut = None,
    variables: bool = False,
    unsealed_only: bool = False,
) -> dict[str, Assignment]:
    """Return the assignments of a `.env` file, without those that `left_out` has a reason for.

    A `${NAME}` stands for the value that the same file gives to that name. It is text in single quotes,
    behind a backslash, if the file does not have that name, or in a circle of names.

    Args:
        path: The file, for messages.
        text: Its text.
        warn: Called with warnings about text that may mean something else, with lines and names.
        left_out: Returns why a name is left out; None if it is not.
        variables: Whether to refuse names that a variable cannot have.
        unsealed_only: Whether to refuse ciphertext and references of other tools.

    Raises:
        UsageError: Lines are not assignments, or are encrypted; the message has their numbers, and no text
            of them.
    """
    text = text.replace("\r\n", "\n")
    assignments: dict[str, Assignment] = {}
    lines: dict[str, list[int]] = {}
    bare: dict[str, int] = {}
    pairs: dict[str, int] = {}
    kept: dict[str, frozenset[str]] = {}
    problems: list[tuple[int, str]] = []
    for line, name, value, problem in _bindings(text):
        if problem is None and variables and not _VARIABLE.fullmatch(name):
            # The name is not shown: it may be a line of a private key.
            problem = "the text before = is not a valid name of a variable"  # noqa: PLW2901  # of the same line
        if problem is not None:
            problems.append((line, problem))
            continue
        lines.setdefault(name, []).append(line)
        assignments[name] = Assignment(line, value.parts)
        kept[name] = value.kept
        for marked, is_so in ((bare, value.has_bare), (pairs, value.has_pair)):
            marked.pop(name, None)
            if is_so:
                marked[name] = line
    sealed = sealed_values({name: "".join(one.parts) for name, one in assignments.items() if unsealed_only})
    problems += [_as_problem([assignments[name].line for name in one.names], one.what) for one in sealed]
    if problems:
        raise _refused(path, sorted(problems), hint=advice(sealed, path, "env") or None)
    filled = {name: assignments[name].line for name, names in kept.items() if names & assignments.keys()}
    _warn(path, assignments, lines, (bare, pairs, filled), warn)
    if left_out is not None:
        assignments = _without(path, assignments, left_out, warn)
    return _settled(path, assignments, warn)


def expanded(assignments: Mapping[str, Assignment]) -> dict[str, str]:
    """Return the value of each name, with each `${NAME}` replaced by that name's value."""
    done: dict[str, str] = {}

    def value(name: str) -> str:
        if name not in done:
            parts = assignments[name].parts
            done[name] = "".join(value(part) if isinstance(part, Name) else part for part in parts)
        return done[name]

    for name in _in_order(assignments):
        value(name)
    return {name: done[name] for name in assignments}


def template(parts: Sequence[str]) -> str:
    """Return the parts of a value as a Jinja2 template for `compose:`."""
    return "".join(f"{{{{ {part} }}}}" if isinstance(part, Name) else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    # A brace might begin an expression of Jinja2, which also keeps no other line ends than `\n`.
    return text.replace("{", '{{ "{" }}').replace("\r", '{{ "\\r" }}')


def _bindings(text: str) -> Iterator[tuple[int, str, _Value, str | None]]:
    """Yield line, name and value of each assignment, or what is wrong with the line."""
    import io

    from dotenv.parser import Position, Reader, parse_binding

    reader = Reader(io.StringIO(text))
    waiting: tuple[int, str, _Value, int] | None = None  # an assignment that may go on in the next line
    while reader.has_next():
        start, at = reader.position.chars, reader.position.line
        binding = parse_binding(reader)
        source = binding.original.string
        line = at + source[: len(source) - len(source.lstrip())].count("\n")
        problem = _problem(binding)
        if problem is not None:
            word = _shell_word(reader.string, start if waiting is None else waiting[3])
            if word is not None and word[1].end > start:
                # python-dotenv may have read past the end of the word: only for it `\'` is an escape.
                reader.position.set(Position(start, at))
                reader.position.advance(reader.string[start : word[1].end])
                yield line if waiting is None else waiting[0], *word, None
                waiting = None
                continue
        if waiting is not None:
            yield *waiting[:3], None
            waiting = None
        if problem is not None:
            yield line, "", _Value((), 0, has_bare=False), problem
        elif binding.key is not None:
            value = _value(source, binding.value or "", reader.position.chars)
            waiting = line, binding.key, value, start
            if not source.rstrip("\n").endswith("\\"):
                yield *waiting[:3], None
                waiting = None
    if waiting is not None:
        yield *waiting[:3], None


def _problem(binding: Binding) -> str | None:
    """Return what is wrong with a line, without its text, which may be of a private key."""
    if binding.error:
        begin = _BEFORE.match(binding.original.string)
        if begin is not None and binding.original.string[begin.end() :].startswith(("'", '"')):
            return "the quotes around the value are not closed, or more text follows them"
        return "not an assignment of the form NAME=value"
    if binding.key is not None and binding.value is None:
        return "no value: write NAME=, and a value of several lines in quotes"
    return None


def _value(said: str, value: str, end: int) -> _Value:
    """Return a value that python-dotenv has read, as its quotes say."""
    before = _BEFORE.match(said)
    rest = said[before.end() :] if before is not None else ""
    if rest.startswith("'"):
        single = _SINGLE.match(rest)
        kept = frozenset(match[2] for match in _IN_TEXT.finditer(value) if match[2])
        has_pair = single is not None and "\\\\" in single[1]
        return _Value((value,), end, has_bare=False, has_pair=has_pair, kept=kept)
    double = _DOUBLE.match(rest)
    if double is not None:
        return _of_double(double[1], _IN_DOUBLE, end)
    parts_: list[str] = []
    bare, at = False, 0
    for match in _IN_TEXT.finditer(value):
        if match[1]:
            continue
        if match[2]:
            parts_ += [value[at : match.start()], Name(match[2])]
            at = match.end()
        else:
            bare = True
    return _Value(_joined([*parts_, value[at:]]), end, bare)


def _of_double(raw: str, pattern: re.Pattern[str], end: int) -> _Value:
    """Return the value between double quotes that end at `end`."""
    parts: list[str] = []
    bare, at = False, 0
    for match in pattern.finditer(raw):
        if match["bare"] is not None:
            bare = True
            continue
        parts.append(raw[at : match.start()])
        escaped = match["escaped"]
        plain = pattern is _IN_SHELLS_DOUBLE
        if escaped is None:
            parts.append(Name(match["name"]))
        else:
            parts.append("" if escaped == "\n" else escaped if plain else _ESCAPES.get(escaped, escaped))
        at = match.end()
    return _Value(_joined([*parts, raw[at:]]), end, bare)


def _shell_word(text: str, start: int) -> tuple[str, _Value] | None:
    """Return name and value of an assignment as `sh` reads it, from `start`; None if it is not one."""
    before = _BEFORE.match(text, start)
    if before is None:
        return None
    at, bare = before.end(), False
    parts: list[str] = []
    while at < len(text) and not text[at].isspace():
        piece = _piece(text, at)
        if piece is None:
            return None
        parts += piece.parts
        bare, at = bare or piece.has_bare, piece.end
    rest = _REST.match(text, at)
    if rest is None:
        return None
    return before[1] or before[2], _Value(_joined(parts), rest.end(), bare)


def _piece(text: str, at: int) -> _Value | None:
    """Return the piece of a shell's word at `at`: quoted, escaped, a name, or one character."""
    character = text[at]
    if character == "'":
        end = text.find("'", at + 1)
        return None if end < 0 else _Value((text[at + 1 : end],), end + 1, has_bare=False)
    if character == '"':
        double = _DOUBLE.match(text, at)
        return None if double is None else _of_double(double[1], _IN_SHELLS_DOUBLE, double.end())
    if character == "\\" and at + 1 < len(text):
        return _Value(("" if text[at + 1] == "\n" else text[at + 1],), at + 2, has_bare=False)
    if character in _OPERATORS:
        return None
    match = _IN_TEXT.match(text, at)
    if match is not None and match[2]:
        return _Value((Name(match[2]),), match.end(), has_bare=False)
    return _Value((character,), at + 1, match is not None)


def _joined(parts: Sequence[str]) -> tuple[str, ...]:
    """Return `parts` with adjacent texts joined, and without empty ones."""
    joined: list[str] = []
    texts: list[str] = []
    for part in (*parts, None):
        if part is not None and not isinstance(part, Name):
            texts.append(part)
            continue
        if text := "".join(texts):
            joined.append(text)
        texts = []
        if part is not None:
            joined.append(part)
    return tuple(joined)


def _without(
    path: Path,
    assignments: dict[str, Assignment],
    left_out: Callable[[str], str | None],
    warn: Callable[[str], object],
) -> dict[str, Assignment]:
    """Return `assignments` without the names that are left out, with a warning."""
    reasons: dict[str, list[str]] = {}
    for name, one in assignments.items():
        reason = left_out(name)
        if reason is not None:
            reasons.setdefault(reason, []).append(f"{name} (line {one.line})")
    for reason, names in reasons.items():
        warn(f"{path}: {', '.join(names)} {'is' if len(names) == 1 else 'are'} left out: {reason}")
    return {name: one for name, one in assignments.items() if left_out(name) is None}


def _settled(
    path: Path, assignments: dict[str, Assignment], warn: Callable[[str], object]
) -> dict[str, Assignment]:
    """Turn each `${NAME}` into text whose name is not in the file, or in a circle."""
    ordered = set(_in_order(assignments))
    left: list[str] = []
    done = {}
    for name, assignment in assignments.items():
        parts = tuple(
            f"${{{part}}}"
            if isinstance(part, Name) and (part not in assignments or name not in ordered)
            else part
            for part in assignment.parts
        )
        pairs = zip(parts, assignment.parts, strict=True)
        if parts != assignment.parts or any(type(a) is not type(b) for a, b in pairs):
            left.append(f"{name} (line {assignment.line})")
        done[name] = Assignment(assignment.line, _joined(parts))
    if left:
        warn(
            f"{path}: a ${{…}} in {', '.join(left)} is taken as text: it names nothing in this file, "
            "or refers to itself in a circle"
        )
    return done


def _in_order(assignments: Mapping[str, Assignment]) -> list[str]:
    """Return the names that do not depend on a circle, each behind those that it depends on."""
    needs = {
        name: {part for part in one.parts if isinstance(part, Name) and part in assignments}
        for name, one in assignments.items()
    }
    needed_by: dict[str, list[str]] = {}
    for name, others in needs.items():
        for other in others:
            needed_by.setdefault(other, []).append(name)
    ready = [name for name, others in needs.items() if not others]
    ordered = []
    while ready:
        name = ready.pop()
        ordered.append(name)
        for one in needed_by.get(name, ()):
            needs[one].discard(name)
            if not needs[one]:
                ready.append(one)
    return ordered


def _warn(
    path: Path,
    assignments: Mapping[str, Assignment],
    lines: Mapping[str, list[int]],
    marked: tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]],
    warn: Callable[[str], object],
) -> None:
    for name, numbers in lines.items():
        if len(numbers) > 1:
            listed = ", ".join(map(str, numbers))
            warn(f"{path}: {name} occurs {len(numbers)} times (lines {listed}): the last one counts")
    bare, pairs, filled = (
        ", ".join(f"{name} (line {line})" for name, line in one.items() if name in assignments)
        for one in marked
    )
    if bare:
        warn(f"{path}: the $ before a name in {bare} is text; what the name holds is ${{NAME}}")
    if pairs:
        readers = "are read as one, as by python-dotenv; sh keeps both"
        warn(f"{path}: two backslashes in single quotes in {pairs} {readers}")
    if filled:
        warn(f"{path}: a ${{…}} in single quotes in {filled} is text, as for sh; python-dotenv fills it in")


def _as_problem(lines: Sequence[int], what: str) -> tuple[int, str]:
    """Return the first of `lines`, and the problem with the numbers of the others."""
    first, *others = lines
    if not others:
        return first, what
    also = ", ".join(map(str, others[:_MOST_SHOWN]))
    return first, f"{what} (also in line{'s' if len(others) > 1 else ''} {also})"


def _refused(path: Path, problems: Sequence[tuple[int, str]], hint: str | None) -> UsageError:
    """Return one error for all lines that are wrong."""
    said = [f"{path}:{line}: {problem}" for line, problem in problems[:_MOST_SHOWN]]
    if len(problems) > _MOST_SHOWN:
        said.append(f"and {len(problems) - _MOST_SHOWN} more lines")
    return UsageError("; ".join(said), hint=hint)
