"""The one Jinja2 environment that templates and composed secrets are rendered in."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["BadTemplateError", "environment", "names_in"]

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class BadTemplateError(ValueError):
    """Text that is not a template; the message quotes nothing of it."""


@lru_cache(maxsize=1)
def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment: sandboxed, strict about names, without files and without HTML's escapes.

    `urlencode` quotes `/` too, since what is filled in is a part of a URL and never its path. True and false
    are written as in JSON, mappings and lists as JSON.
    """
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # configuration files are not HTML
        finalize=_written,
    )
    pairs = made.filters["urlencode"]
    made.filters["urlencode"] = lambda value: (
        quote(str(value), safe="") if isinstance(value, str | int | float) else pairs(value)
    )
    return made


def names_in(text: str) -> frozenset[str]:
    """Return the names that the template `text` needs from outside.

    Raises:
        BadTemplateError: It is not a template, names an unknown filter, or reaches for another template.
    """
    from jinja2 import TemplateError, meta, nodes

    try:
        tree = environment().parse(text)
        environment().compile(tree)  # unknown filters and tests come up here
        tree = environment().parse(text)  # compiling changes the tree
    except TemplateError as error:
        problem = _QUOTED.sub("…", str(error.args[0] if error.args else type(error).__name__))
    except RecursionError:
        problem = "it is nested too deeply"
    else:
        if next(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)), None) is None:
            return frozenset(meta.find_undeclared_variables(tree))
        problem = "it asks for another template"
    raise BadTemplateError(problem)


def _written(value: Any) -> Any:
    if value is True or value is False or isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return value
