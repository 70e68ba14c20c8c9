"""Write docs/reference/ anew from the code: spec, command line, errors, plugins and hooks, the library.

`--check` writes nothing and fails where a page differs from the code.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import strongroom
from strongroom import errors, events, hookspecs, providers
from strongroom.cli.app import COMMANDS, app
from strongroom.cli.failures import exit_code
from strongroom.plugins import KINDS, CachePlugin, finder
from strongroom.spec import models

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOT_RUN = "<!-- not run: tests/test_third_party.py runs a plugin like it -->"
_NOTICE = "<!-- Made from the code by `make docs`; changes here are lost. -->\n"


def errors_page() -> Iterator[str]:
    """Yield the error tree, and for each class what it means and the exit code of the command line."""
    yield "# Errors\n"
    tree = inspect.cleandoc(errors.__doc__ or "")
    lead, _, rest = tree.partition("\n\n")
    drawing, _, last = rest.rpartition("\n\n")
    yield f"{lead}\n\n```text\n{inspect.cleandoc(drawing)}\n```\n\n{last}\n"
    yield "| class | meaning | exit code |\n|---|---|---|"
    for name in sorted(errors.__all__):
        found = getattr(errors, name)
        if isinstance(found, type) and issubclass(found, Exception):
            yield f"| `{name}` | {_first_line(found)} | {exit_code(_example(found))} |"


def _example(cls: type[Exception]) -> Exception:
    return cls.__new__(cls)


def spec_page() -> Iterator[str]:
    """Yield the members of a spec, then the options of each component by kind and type."""
    yield "# The spec\n\nWhat `strongroom.yaml` may say. Options of components come from their plugins.\n"
    yield (
        "In an editor with yaml-language-server, this first line gives completion and checks as you type:\n\n"
        "```text\n# yaml-language-server: $schema=schemas/strongroom.schema.json\n```\n"
    )
    schema = models.Spec.model_json_schema()
    yield f"## The whole\n\n{_options(schema)}"
    for name, told in schema["$defs"].items():
        yield f"## {name}\n\n{told.get('description', '')}\n\n{_options(told)}"
    titles = {
        "provider": "Providers",
        "middleware": "Middleware",
        "hook": "Hooks",
        "encryption": "Encryption",
    }
    for kind, title in titles.items():
        yield f"## {title}\n"
        for row in finder.listed():
            if row.kind == kind and row.plugin is not None and row.error is None:
                yield f"### `{row.name}`\n\n{row.summary} Distribution: `{row.distribution}`.\n"
                yield _options(row.plugin.config.model_json_schema())


def _options(schema: dict[str, Any]) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return "No options.\n"
    required = set(schema.get("required", ()))
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, told in properties.items():
        default = "required" if name in required else _default(told)
        rows.append(f"| `{name}` | {_type(told)} | {default} | {_cell(told.get('description', ''))} |")
    return "\n".join(rows) + "\n"


def _default(told: dict[str, Any]) -> str:
    return f"`{json.dumps(told['default'])}`" if told.get("default") is not None else ""


def _type(told: dict[str, Any]) -> str:  # noqa: PLR0911  # a return for each form of JSON Schema
    if "$ref" in told:
        return told["$ref"].rpartition("/")[2]
    if "anyOf" in told:
        return " or ".join(dict.fromkeys(_type(one) for one in told["anyOf"] if one.get("type") != "null"))
    if "enum" in told:
        return ", ".join(f"`{one}`" for one in told["enum"])
    if "const" in told:
        return f"`{told['const']}`"
    kind = told.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(told.get('items', {}))}"
    return str(kind)


def cli_page() -> Iterator[str]:
    """Yield the help of each command, as `--help` prints it."""
    yield "# The command line\n"
    yield f"{_help(app, None, 'strongroom')}\n"
    parent = click.Context(app, info_name="strongroom")
    for name in sorted(COMMANDS):
        command = app.get_command(parent, name)
        assert command is not None, name  # noqa: S101  # the table of commands is the group's own
        yield f"## `strongroom {name}`\n\n{_help(command, parent, name)}\n"
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=parent)
            for part in command.list_commands(inner):
                found = command.get_command(inner, part)
                assert found is not None, part  # noqa: S101  # as above
                yield f"### `strongroom {name} {part}`\n\n{_help(found, inner, part)}\n"


def _help(command: click.Command, parent: click.Context | None, name: str) -> str:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    return f"```text\n{command.get_help(context)}\n```"


def plugins_page() -> Iterator[str]:
    """Yield the four doors, the descriptor, the protocols and the hook with exact signatures."""
    about = inspect.cleandoc(hookspecs.__doc__ or "").replace("```python", f"{_NOT_RUN}\n```python")
    yield f"# Plugins and hooks\n\n{about}\n"
    for name in dict.fromkeys(KINDS.values()):
        found = getattr(hookspecs, name)
        yield f"## `{name}{inspect.signature(found)}`\n\n{inspect.cleandoc(found.__doc__ or '')}\n"
    yield f"## `Plugin`\n\n{_described(strongroom.Plugin)}\n"
    yield f"## `CachePlugin`\n\n{_described(CachePlugin)}\n"
    yield "## Capabilities of a provider\n\nA provider has one by having its methods.\n"
    for protocol in (providers.SecretProvider, *providers.CAPABILITIES):
        yield f"### `{protocol.__name__}`\n\n{inspect.cleandoc(protocol.__doc__ or '')}\n"
        for method, told in vars(protocol).items():
            if not method.startswith("_") and callable(told):
                yield f"- `{method}{inspect.signature(told)}`: {_first_line(told)}"
        yield ""
    yield f"## `SecretHook`\n\n{_described(events.SecretHook)}\n"
    for method in ("before", "after"):
        told = getattr(events.SecretHook, method)
        yield f"- `{method}{inspect.signature(told)}`: {_first_line(told)}"
    yield f"\n## `SecretEvent`\n\n{_described(events.SecretEvent)}\n"
    fields = ", ".join(f"`{field.name}`" for field in dataclasses.fields(events.SecretEvent))
    yield f"Its fields, in their order: {fields}."


def python_page() -> Iterator[str]:
    """Yield every public name of `strongroom` with its signature."""
    yield "# The library\n\nAll of it is importable from `strongroom`.\n"
    for name in sorted(strongroom.__all__):
        found = getattr(strongroom, name)
        yield f"## `{name}{_signature(found)}`\n\n{_described(found)}\n"


def _signature(found: object) -> str:
    if not callable(found) or (isinstance(found, type) and getattr(found, "_is_protocol", False)):
        return ""
    try:
        text = str(inspect.signature(found))
    except (TypeError, ValueError):
        return ""
    return "" if " at 0x" in text else text


def _described(found: object) -> str:
    """Return a docstring with its Google-style sections as lists."""
    lines: list[str] = []
    for line in inspect.cleandoc(found.__doc__ or "").splitlines():
        if line.rstrip(":") in {"Args", "Attributes", "Raises", "Returns"} and line.endswith(":"):
            lines.append(f"**{line[:-1]}**\n")
        elif line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon else line.strip())
        else:
            lines.append(line.strip() if line.startswith("     ") else line)
    return "\n".join(lines)


def _first_line(found: object) -> str:
    return _cell(inspect.cleandoc(getattr(found, "__doc__", "") or "").split("\n\n")[0])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {
    "errors": errors_page,
    "spec": spec_page,
    "cli": cli_page,
    "plugins": plugins_page,
    "python": python_page,
}


def rendered(lines: Iterable[str]) -> str:
    """Return a page as it is written."""
    return _NOTICE + "\n" + "\n".join(lines).rstrip() + "\n"


def main(*arguments: str) -> None:
    """Write the pages, or compare them."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        path, text = TARGET / f"{name}.md", rendered(page())
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"docs/reference/{name}.md is not what the code says: run `make docs`")


if __name__ == "__main__":
    main(*sys.argv[1:])
