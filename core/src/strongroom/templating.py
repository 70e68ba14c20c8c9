"""The one Jinja2 environment that templates and composed secrets are rendered in."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["BadTemplateError", "as_written", "environment", "names_in", "plain_parts"]

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_KEYWORDS = "not|self|true|false|none|True|False|None"
"""What means something else than a variable where Jinja2 expects a name."""
_PLAIN = re.compile(
    rf'(?<!\{{)\{{\{{[ \t]*(?:(?!(?:{_KEYWORDS})\b)([A-Za-z_][A-Za-z0-9_]*)|"(\{{|\\r)")[ \t]*\}}\}}'
)
_NOT_PLAIN = re.compile(r"\{[{%#]|\r")


class BadTemplateError(ValueError):
    """Text that is not a template; the message quotes nothing of it."""


@lru_cache(maxsize=2)
def environment(line_end: Literal["\n", "\r\n"] = "\n") -> ImmutableSandboxedEnvironment:
    """Return the environment: sandboxed, strict about names, without files and without HTML's escapes.

    `urlencode` quotes `/` too, since what is filled in is a part of a URL and never its path. True and false
    are written as in JSON, mappings and lists as JSON.

    Args:
        line_end: What ends the lines of a rendered template.

    Raises:
        ConfigurationError: Jinja2 is not installed.
    """
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise ConfigurationError(
            "templates need Jinja2, which is not installed", hint="pip install 'strongroom[templates]'"
        )
    jinja = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        newline_sequence=line_end,
        autoescape=False,  # configuration files are not HTML
        finalize=_written,
    )
    from urllib.parse import quote  # jinja2 has it loaded

    pairs = jinja.filters["urlencode"]
    jinja.filters["urlencode"] = lambda value: (
        quote(str(value), safe="") if isinstance(value, str | int | float) else pairs(value)
    )
    return jinja


def names_in(text: str) -> frozenset[str]:
    """Return the names that the template `text` needs from outside.

    Raises:
        BadTemplateError: It is not a template, names an unknown filter, or reaches for another template.
    """
    parts = plain_parts(text)
    if parts is not None:
        return frozenset(part[0] for part in parts if isinstance(part, tuple))
    jinja = environment()
    from jinja2 import TemplateError, meta, nodes

    try:
        tree = jinja.parse(text)
        jinja.compile(tree)  # unknown filters and tests come up here
        tree = jinja.parse(text)  # compiling changes the tree
    except TemplateError as error:
        problem = _QUOTED.sub("…", str(error.args[0] if error.args else type(error).__name__))
    except RecursionError:
        problem = "it is nested too deeply"
    else:
        if next(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None) is None:
            return frozenset(meta.find_undeclared_variables(tree))
        problem = "it asks for another template"
    raise BadTemplateError(problem)


def plain_parts(text: str) -> list[str | tuple[str]] | None:
    """Return the parts of a template that is only text and names: each name in a tuple of one; else None.

    Such a template, as `strongroom init` writes it, is rendered without Jinja2.
    """
    parts: list[str | tuple[str]] = []
    at = 0
    for match in _PLAIN.finditer(text):
        parts.append(text[at : match.start()])
        parts.append((match[1],) if match[1] else "{" if match[2] == "{" else "\r")
        at = match.end()
    parts.append(text[at:])
    # A letter replaces each name: without it the texts around a name could together begin a tag.
    return None if _NOT_PLAIN.search(_PLAIN.sub("x", text)) else parts


def as_written(value: Any) -> str:
    """Return what a template writes for `value`."""
    return str(_written(value))


def _written(value: Any) -> Any:
    if value is True or value is False or isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
