"""Checking the text of a reference by the recorded rules of its option, without its model.

Only simple rules are recorded; an option with other rules is not recorded if it has a reference. Text that
does not clearly keep the rules is left to the model.
"""

from __future__ import annotations

import operator
import re
from typing import Any, Final

__all__ = ["PathText", "UnfitError", "fitted"]

# Compiled at their first use: few specs have a number that a variable holds.
_INTEGER: Final = r"-?(?:0|[1-9][0-9]{0,14})"
_DECIMAL: Final = r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,6})?"
_TEXT: Final = frozenset({"text", "any"})


class PathText(str):
    """The text of a path, as an option of that type takes it."""

    __slots__ = ()


class UnfitError(ValueError):
    """Text that an option does not take, or may not take; it is not shown, since it may be a secret."""


def fitted(text: str, rule: dict[str, Any], lone: bool) -> Any:  # it is in a list of JSON
    """Return the value that `text` has in an option.

    Args:
        text: The text that the references gave.
        rule: `kinds`, and `least`, `most` and `pattern` for text or `ge`, `gt`, `le`, `lt` for numbers.
        lone: Whether it is from a single reference and nothing else, which an option of any type may have.

    Raises:
        UnfitError: The option does not take it, or may not.
    """
    kinds = {*rule["kinds"]}
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise UnfitError
    if kinds & _TEXT:
        return _text(text, rule)
    if "path" in kinds:
        if not text:
            raise UnfitError
        return PathText(text)
    if lone and "boolean" in kinds and text in {"true", "false"} and len(kinds - {"none"}) == 1:
        return text == "true"
    if lone and kinds - {"none"} == {"integer"} and re.fullmatch(_INTEGER, text) and text != "-0":
        return _number(int(text), rule)
    if lone and kinds - {"none"} == {"number"} and re.fullmatch(_DECIMAL, text):
        return _number(float(text), rule)
    raise UnfitError


def _text(text: str, rule: dict[str, Any]) -> str:
    least, most, pattern = rule.get("least", 0), rule.get("most"), rule.get("pattern")
    short = len(text) < least or (most is not None and len(text) > most)
    if short or (pattern is not None and re.search(pattern, text) is None):
        raise UnfitError
    return text


def _number(number: float, rule: dict[str, Any]) -> float:
    for name, holds in (("ge", operator.ge), ("gt", operator.gt), ("le", operator.le), ("lt", operator.lt)):
        if name in rule and not holds(number, rule[name]):
            raise UnfitError
    return number
