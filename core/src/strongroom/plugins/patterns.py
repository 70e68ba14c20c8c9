"""The regular expressions and JSON Schemas of a spec, tried on values and keys in bounded time.

Python's own `re` takes time that doubles with each character for patterns such as `(a|aa)+$`, and cannot be
stopped. The package `regex` takes the same patterns, recognises the commonest of these, and gives up in
time on the rest (`docs/decisions/0047-patterns.md`).

jsonschema uses `re`, too. And it would fetch what a `$ref` names, from the network or a file: a spec that
somebody else wrote could make it do so. Here a schema reads nothing from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from referencing import Resource
    from referencing._core import Resolver

__all__ = ["LONGEST_TEXT", "compiled", "mismatch", "place", "schema_validator"]

LONGEST_TEXT = 65_536
"""Characters up to which a pattern is tried on a text."""
_SECONDS = 1.0
_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_PIECE: Final = r"(?:[A-Za-z0-9_:/@%=-]|\\[.+*?()|^$/-]|\[[A-Za-z0-9_.:/@+=-]+\])([+*?]|\{\d+(,\d*)?\})?"


@lru_cache(maxsize=256)
def _matching(pattern: str) -> Any:
    """Return what matches a whole text in bounded time; `regex` is imported only where `re` would not do."""
    if _is_plain(pattern):
        try:
            return re.compile(pattern).fullmatch
        except (re.error, OverflowError):
            pass  # `regex` says what is wrong with it
    return partial(compiled(pattern).fullmatch, timeout=_SECONDS)


def _is_plain(pattern: str) -> bool:
    """Return whether `re` matches a whole text in one pass, and as `regex` does: `[A-Z]{2}-[0-9]+`.

    That is one character after the other, of which one at most may occur a varying number of times.
    """
    end = varying = 0
    while end < len(pattern):
        piece = re.compile(_PIECE).match(pattern, end)
        if piece is None:
            return False
        end = piece.end()
        varying += piece[2] is not None or piece[1] in {"+", "*", "?"}
    return varying <= 1 and "--" not in pattern


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """Return `pattern` as an object of the package `regex`.

    Raises:
        ValueError: It is not a regular expression.
    """
    import regex  # few specs have a pattern, and a command is to start fast

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        problem = str(error)
    raise ValueError(problem)


def mismatch(pattern: str, text: str, *, anywhere: bool = False) -> str | None:
    """Return why the whole of `text` does not match `pattern`, or None where it does.

    Args:
        pattern: A pattern that `compiled` takes.
        text: What it is tried on.
        anywhere: A part of `text` that matches is enough, as in a JSON Schema.
    """
    if len(text) > LONGEST_TEXT:
        return f"it has {len(text)} characters, and a pattern is tried on {LONGEST_TEXT} at most"
    try:
        found = compiled(pattern).search(text, timeout=_SECONDS) if anywhere else _matching(pattern)(text)
    except TimeoutError:
        return f"the pattern {pattern} takes more than {_SECONDS:g} s on it; write it without nested repeats"
    return None if found is not None else f"it does not match the pattern {pattern}"


def schema_validator(rules: Mapping[str, Any]) -> Any:
    """Return what finds the errors of JSON data under the schema `rules`, with its method `iter_errors`.

    Raises:
        ImportError: The package jsonschema is missing, or is older than 4.18.
        ValueError: `rules` is not a JSON Schema, or it refers to something outside of itself; the message
            holds no text of it but names of members.
    """
    import jsonschema
    from jsonschema_specifications import REGISTRY
    from referencing.jsonschema import specification_with

    schema = dict(rules)
    if not isinstance(schema.get("$schema", ""), str):
        message = "not a JSON Schema: $.$schema is not text"
        raise ValueError(message)  # noqa: TRY004  # it is about a schema, as below
    kind: Any = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        at, rule = place(error.absolute_path), error.validator
        message = f"not a JSON Schema: {at} breaks the rule {rule!r} for schemas"
        raise ValueError(message) from None
    resource = specification_with(str(kind.ID_OF(kind.META_SCHEMA))).create_resource(schema)
    _check_references(resource, REGISTRY.resolver_with_root(resource))
    extend: Any = jsonschema.validators.extend  # it has no types
    return extend(kind, {"pattern": _pattern})(schema, registry=REGISTRY)


def place(path: Iterable[str | int]) -> str:
    """Return the way to a member of JSON data as text, such as `$.ports[0]`."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _check_references(part: Resource[Any], resolver: Resolver[Any]) -> None:
    """Raise `ValueError` if a reference in `part` leads to nothing that is known."""
    from referencing.exceptions import Unresolvable

    contents = part.contents if isinstance(part.contents, Mapping) else {}
    for word in _REFERENCES:
        if isinstance(contents.get(word), str):
            try:
                resolver.lookup(contents[word])
            except (Unresolvable, ValueError):  # the latter for a list's item that is not a number
                message = (
                    f"a `{word}` names nothing in the schema, and nothing is read from elsewhere; "
                    "put what it names under `$defs`"
                )
                raise ValueError(message) from None
    for inner in part.subresources():
        _check_references(inner, resolver.in_subresource(inner))


def _pattern(_validator: Any, pattern: str, text: Any, _schema: Any) -> Iterator[Exception]:
    import jsonschema

    if isinstance(text, str) and (why := mismatch(pattern, text, anywhere=True)) is not None:
        yield jsonschema.ValidationError(why)
