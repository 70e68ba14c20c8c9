"""Recognises plain calls of the commands that scripts use, without click, which costs more than a read.

Help, mistakes and unusual spellings are left to click, so that one place explains them. A test compares the
table here with the options that click has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from strongroom.cli.context import GlobalOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["COMMANDS", "FastCall", "parse_fast_call"]

_GLOBAL_VALUES = {one: one[2:] for one in ("--spec", "--profile", "--pipeline")}
_FLAGS = {one: one[2:] for one in ("--json", "--debug", "--quiet")}


class _Command:
    """A command, with the words that a plain call of it may have.

    Attributes:
        place: The module of its function in `actions`, and the function's name.
        values: The options with a value, and the names of their parameters.
        flags: The options without a value, and the names of their parameters.
        choices: The values that a parameter may have, if not any text.
        operand: The parameter of the one word that is not an option; for `words`, of all behind `--`.
        needed: The parameters that have to be given.
        lasts: Whether its process runs for long, and then exits as any process of Python does.
    """

    __slots__ = ("choices", "flags", "lasts", "needed", "operand", "place", "values")

    def __init__(
        self,
        place: str,
        *,
        values: Mapping[str, str] | None = None,
        flags: Collection[str] = (),
        choices: Mapping[str, Collection[str]] | None = None,
        operand: str | None = None,
        needed: Collection[str] = (),
        lasts: bool = False,
    ) -> None:
        self.place, self.values, self.choices = place, values or {}, choices or {}
        self.operand, self.needed, self.lasts = operand, needed, lasts
        self.flags = {one: one[2:].replace("-", "_") for one in flags}

    def load(self) -> Callable[..., int | None]:
        """Return the function of the command: it takes the `GlobalOptions`, and the parameters by name."""
        import importlib

        module, _, name = self.place.partition(":")
        function: Callable[..., int | None] = getattr(
            importlib.import_module(f"strongroom.cli.actions.{module}"), name
        )
        return function


COMMANDS = {
    "get": _Command(
        "get:get",
        values={"--field": "field", "--version": "version"},
        operand="key",
        needed=("key",),
    ),
    "run": _Command(
        "run:run",
        values={"--group": "group", "--only": "only"},
        flags=("--allow-empty", "--no-mask"),
        operand="words",
        needed=("words",),
    ),
    "list": _Command("list:list_keys", flags=("--tree", "--long"), operand="prefix"),
    "check": _Command(
        "check:check",
        values={"--group": "group", "--format": "form"},
        flags=("--fix", "--offline"),
        choices={"form": ("table", "json", "junit", "sarif")},
    ),
    "export": _Command(
        "export:export",
        values={"--format": "form", "--prefix": "prefix", "--group": "group"},
        flags=("--exported",),
        choices={"form": ("env", "fish", "dotenv", "json", "yaml", "docker", "github")},
        needed=("form",),
    ),
    "render": _Command(
        "render:render_file",
        values={"-o": "target", "--output": "target"},
        operand="template",
        needed=("template",),
    ),
    "serve": _Command("serve:serve", values={"--socket": "socket", "--listen": "listen"}, lasts=True),
}


class FastCall:
    """A plain call of a command."""

    __slots__ = ("command", "options", "settings")

    def __init__(self, command: str, settings: GlobalOptions, options: dict[str, Any]) -> None:
        self.command = command
        self.settings = settings
        self.options = options


def parse_fast_call(args: Sequence[str]) -> FastCall | None:
    """Return the plain call of one of the `COMMANDS` in `args`; None for anything else."""
    chosen: dict[str, Any] = {}
    words = iter(args)
    for word in words:
        command = COMMANDS.get(word)
        if command is not None:
            options = _read_options(command, words, chosen)
            return None if options is None else FastCall(word, GlobalOptions(**chosen), options)
        if not _take_option(word, words, _GLOBAL_VALUES, _FLAGS, chosen):
            return None
    return None


def _read_options(command: _Command, words: Iterator[str], chosen: dict[str, Any]) -> dict[str, Any] | None:
    """Return the parameters of a command; global flags behind its name go to `chosen`."""
    options: dict[str, Any] = {}
    operand = command.operand
    for word in words:
        if word in _FLAGS:
            chosen[_FLAGS[word]] = True
        elif word == "--" and operand == "words":
            options[operand] = list(words)
        elif word.startswith("-"):
            if not _take_option(word, words, command.values, command.flags, options):
                return None
        elif not word or operand is None or operand == "words" or operand in options:
            return None
        else:
            options[operand] = word
    if not all(options.get(name) for name in command.needed):
        return None
    if any(options[name] not in some for name, some in command.choices.items() if name in options):
        return None
    return options


def _take_option(
    word: str,
    words: Iterator[str],
    values: Mapping[str, str],
    flags: Mapping[str, str],
    options: dict[str, Any],
) -> bool:
    """Put the option `word` into `options`, with its value from `words`, and return whether it was one."""
    if word in flags:
        options[flags[word]] = True
        return True
    value = next(words, None) if word in values else None
    if not value or value.startswith("-"):
        return False
    options[values[word]] = value
    return True
