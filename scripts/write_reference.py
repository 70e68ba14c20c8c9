"""Write docs/reference/ from the code: spec, command line, errors, plugins and hooks, the library.

`--check` writes nothing and fails where a page differs from the code.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import strongroom
from strongroom import errors, hooks
from strongroom.cache import CacheStore, FencedStore, TimedStore, WatchableStore
from strongroom.cli.app import COMMANDS, app
from strongroom.cli.errors import exit_code
from strongroom.encryption import Encryption
from strongroom.masking.limits import ENOUGH
from strongroom.masking.looks import LOOKS
from strongroom.masking.parts import HARMLESS
from strongroom.masking.views import READINGS
from strongroom.pipeline import Pipeline, outcome_of
from strongroom.plugins import KINDS, CachePlugin, RotatorPlugin, finder, hookspecs
from strongroom.plugins.known import KNOWN_TYPES
from strongroom.providers import Lease, SecretChange, SecretMetadata, protocols
from strongroom.rotation import Rehearser, Retirer, Rotator, ValueComposer
from strongroom.spec import models
from strongroom_memory import MemorySecretProvider

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference"
_NOT_RUN = "<!-- not run: tests/test_third_party.py runs a plugin like it -->"
_ROOT = TARGET.parent.parent
_BACKENDS = "docs/how-to/backends"
_NOTICE = "<!-- Made from the code by `make docs`; changes here are lost. -->\n"
_HOOKS = """A hook sees every operation of a pipeline, or of all of them, from outside the middleware:
even a read that a cache answers.

- `hooks:` of a pipeline in [the spec](spec.md), `hooks:` of the whole spec, or `registry.add_hook(hook)`.
- The hooks of the whole spec come first, then those of the pipeline, in the order in which they are given;
  `after` runs in reverse. Audit hooks are entered before all others, wherever they are given, so that they
  also record what others veto.
- An exception from `before` vetoes the operation and reaches the caller unchanged.
- `after` is called once for each `before` that was entered, even one that raised. An exception from `after`
  is logged to `strongroom.hooks` and dropped, unless it is an `AuditError`.

```python
from strongroom import SecretEvent, SecretHook, SecretProviderRegistry


class NoWrites(SecretHook):
    def before(self, event: SecretEvent) -> None:
        if event.operation != "get":
            raise PermissionError(f"{event.actor} only reads")


spec = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
with SecretProviderRegistry(spec) as registry:
    registry.add_hook(NoWrites())
    try:
        registry.set_secret("api/key", "my-api-key")
    except PermissionError as error:
        print(error)
```

To give a hook a type of its own in the spec, [write a plugin](../tutorials/write-a-plugin.md)."""
_MASKING = f"""Masking finds a value wherever {ENOUGH} of its letters and digits occur in a row: all of them
if the value has fewer, and 8 of a generated value. It looks for the characters that no encoder changes, and
then follows the text to both sides through the forms in the two tables below, in any mixture: even with
colours, borders and line ends between two characters, and even if one encoder was applied after another."""

_HARMLESS = """Each text inside a secret that is a JSON object or array is masked by itself, except members
of these names, unless a URL in it has a password:"""

_SOURCES = """Where the value of a `get` came from: `backend`, the provider; `l1` and `l2`, the levels of the
[cache](../how-to/cache.md); `stale`, a value past its time, served because the backend was unavailable."""


def errors_page() -> Iterator[str]:
    """Yield the error tree, and for each class what it means and the exit code of the command line."""
    yield "# Errors\n"
    tree = inspect.cleandoc(errors.__doc__ or "")
    lead, _, rest = tree.partition("\n\n")
    drawing, _, last = rest.rpartition("\n\n")
    yield f"{lead}\n\n```text\n{inspect.cleandoc(drawing)}\n```\n\n{last}\n"
    yield "| class | meaning | exit code |\n|---|---|---|"
    for name, found in _classes():
        yield f"| `{name}` | {_first_line(found)} | {exit_code(_example(found))} |"


def _classes() -> Iterator[tuple[str, type[Exception]]]:
    for name in sorted(errors.__all__):
        found = getattr(errors, name)
        if isinstance(found, type) and issubclass(found, Exception):
            yield name, found


def _example(cls: type[Exception]) -> Exception:
    return cls.__new__(cls)


def spec_page() -> Iterator[str]:
    """Yield the members of a spec, then the options of each component by kind and type."""
    yield "# The spec\n\nWhat `strongroom.yaml` may say. Options of components come from their plugins.\n"
    yield (
        "In an editor with yaml-language-server, `strongroom schema > strongroom.schema.json` and this first "
        "line of the spec give completion and checks as you type:\n\n"
        "```text\n# yaml-language-server: $schema=strongroom.schema.json\n```\n"
    )
    schema = models.Spec.model_json_schema()
    yield f"## The whole\n\n{_options(schema)}"
    for name, definition in schema["$defs"].items():
        yield f"## {name}\n\n{definition.get('description', '')}\n\n{_options(definition)}"
    titles = {
        "provider": "Providers",
        "middleware": "Middleware",
        "hook": "Hooks",
        "encryption": "Encryption",
        "rotator": "Rotators",
    }
    for kind, title in titles.items():
        yield f"## {title}\n"
        for row in finder.list_components():
            if row.kind == kind and row.plugin is not None and row.error is None:
                yield f"### `{row.name}`\n\n{row.summary} Distribution: `{row.distribution}`.\n"
                yield _options(row.plugin.config.model_json_schema())


def _options(schema: dict[str, Any]) -> str:
    properties = schema.get("properties", {})
    if not properties:
        return "No options.\n"
    required = set(schema.get("required", ()))
    rows = ["| option | type | default | meaning |", "|---|---|---|---|"]
    for name, option in properties.items():
        default = "required" if name in required else _default(option)
        rows.append(f"| `{name}` | {_type(option)} | {default} | {_cell(option.get('description', ''))} |")
    return "\n".join(rows) + "\n"


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if schema.get("default") is not None else ""


def _type(schema: dict[str, Any]) -> str:  # noqa: PLR0911  # a return for each form of JSON Schema
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
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
    context = click.Context(
        command,
        info_name=name,
        parent=parent,
        max_content_width=100,
        terminal_width=100,
        help_option_names=["-h", "--help"],
    )
    return f"```text\n{command.get_help(context)}\n```"


def plugins_page() -> Iterator[str]:
    """Yield the four doors, the descriptors and the protocols with exact signatures."""
    about = inspect.cleandoc(hookspecs.__doc__ or "").replace("```python", f"{_NOT_RUN}\n```python")
    yield f"# Plugins\n\n{about}\n"
    for name in dict.fromkeys(KINDS.values()):
        found = getattr(hookspecs, name)
        yield f"## `{name}{inspect.signature(found)}`\n\n{inspect.cleandoc(found.__doc__ or '')}\n"
    yield f"## `Plugin`\n\n{_described(strongroom.Plugin)}\n"
    yield f"## `CachePlugin`\n\n{_described(CachePlugin)}\n"
    yield f"## `RotatorPlugin`\n\n{_described(RotatorPlugin)}\n"
    yield "## Rotators\n\nA rotator has the two methods of `Rotator`, and the others where it can do more.\n"
    yield from _protocols(Rotator, ValueComposer, Retirer, Rehearser)
    yield "## Ciphers\n\nA cipher has the two methods of `Encryption`.\n"
    yield from _protocols(Encryption)
    yield "## Cache stores\n\nA store has the methods of `CacheStore`, and the others where it can do more.\n"
    yield from _protocols(CacheStore, FencedStore, TimedStore, WatchableStore)
    yield "## Capabilities of a provider\n\nA provider has one by having its methods.\n"
    yield from _protocols(protocols.SecretProvider, *protocols.CAPABILITIES)


def _protocols(*those: type) -> Iterator[str]:
    """Yield what each protocol is, and its methods with exact signatures."""
    for protocol in those:
        yield f"### `{protocol.__name__}`\n\n{inspect.cleandoc(protocol.__doc__ or '')}\n"
        for method, function in vars(protocol).items():
            if not method.startswith("_") and callable(function):
                yield f"- `{method}{inspect.signature(function)}`: {_first_line(function)}"
        yield ""


def hooks_page() -> Iterator[str]:
    """Yield how hooks are called, the base class, and the hooks that are installed with their options."""
    yield f"# Hooks\n\n{_HOOKS}\n"
    yield f"## `SecretHook`\n\n{_described(hooks.SecretHook)}\n"
    for method in ("before", "after"):
        function = getattr(hooks.SecretHook, method)
        yield f"- `{method}{inspect.signature(function)}`: {_first_line(function)}"
    yield "\nBoth get a [`SecretEvent`](events.md).\n"
    for row in finder.list_components():
        if row.kind == "hook" and row.plugin is not None and row.error is None:
            yield f"## `{row.name}`\n\n{row.summary} Distribution: `{row.distribution}`.\n"
            yield _options(row.plugin.config.model_json_schema())


def masking_page() -> Iterator[str]:
    """Yield what masking finds: each way to write a character, and each other reading of a text."""
    yield "# Masking\n\nWhat [masking](../how-to/mask.md), `redact` and `scan` find of a value.\n"
    yield f"{_MASKING}\n"
    yield "## How a character may be written\n\n| way | example | seen in |\n|---|---|---|"
    for look in LOOKS:
        yield f"| {_cell(look.name)} | `{_cell(look.example)}` | {_cell(look.seen_in)} |"
    yield "\n## How a text may be read\n\n| reading | what is taken for it |\n|---|---|"
    for name, description in READINGS:
        yield f"| {name} | {_cell(description)} |"
    yield "\n## What of a JSON secret is not secret\n"
    yield f"{_HARMLESS} {', '.join(f'`{name}`' for name in HARMLESS)}."


def events_page() -> Iterator[str]:
    """Yield the members of an event, which call makes which, and which error ends it how."""
    yield f"# Events\n\nWhat [hooks](hooks.md) see. {_first_line(hooks.SecretEvent)}\n"
    yield "| member | type | meaning |\n|---|---|---|"
    meanings = _attributes(hooks.SecretEvent)
    for field in dataclasses.fields(hooks.SecretEvent):
        yield f"| `{field.name}` | {_annotation(str(field.type))} | {meanings[field.name]} |"
    yield "\n`after` sees an event of the same `id` as `before` did.\n"
    yield "## Operations\n\nA batch makes one event for each key.\n\n| call | operation |\n|---|---|"
    for call, operation in _operations():
        yield f"| `{call}` | `{operation}` |"
    yield "| `rotate`, `resume`, `rollback`, `forget` of a `SecretRotation` over a registry | `rotate` |\n"
    yield "## Outcomes\n\n| outcome | when |\n|---|---|"
    yield "| `ok` | it was done |\n| `vetoed` | a hook's `before` raised |"
    for outcome in get_args(hooks.Outcome):
        raised = [name for name, found in _classes() if outcome_of(_example(found)) == outcome]
        if outcome == "error":
            yield "| `error` | any other exception |"
        elif raised:
            yield f"| `{outcome}` | {', '.join(f'`{name}`' for name in raised)} |"
    yield f"\n## Sources\n\n{_SOURCES}"


_LEASE = Lease("id", "a", {}, datetime.now(UTC), datetime.now(UTC), True)


class _Everything(MemorySecretProvider):
    """A provider with every capability; what it answers does not matter."""

    def describe_secrets(self, keys: Iterable[str]) -> dict[str, SecretMetadata]:
        return dict.fromkeys(keys, SecretMetadata("a", "1"))

    def subscribe_changes(self, callback: Callable[[list[SecretChange]], object]) -> protocols.Closeable:
        callback([])
        return self

    def issue_lease(self, key: str) -> Lease:
        return dataclasses.replace(_LEASE, key=key)

    def renew_lease(self, lease: Lease) -> Lease:
        return lease

    def revoke_lease(self, lease: Lease) -> None:
        pass


def _operations() -> Iterator[tuple[str, str]]:
    """Yield each call of a provider, and the operation in the event that it makes: called, and looked at."""
    seen: list[str] = []

    class Recorder(hooks.SecretHook):
        def before(self, event: hooks.SecretEvent) -> None:
            seen.append(event.operation)

    pipeline = Pipeline(_Everything(), name="app", hooks=[Recorder()])
    for protocol in (protocols.SecretProvider, *protocols.CAPABILITIES):
        for name, method in vars(protocol).items():
            if name.startswith("_") or not callable(method) or name == "close":
                continue
            wanted = list(inspect.signature(method).parameters)[1:]
            given = {
                "keys": ["a"],
                "values": {"a": "b"},
                "expected_version": None,
                "lease": _LEASE,
                "callback": id,
            }
            seen.clear()
            # That there is no such secret is an answer too: the event is what counts.
            with contextlib.suppress(errors.StrongroomError):
                getattr(pipeline, name)(**{one: given.get(one, "a") for one in wanted})
            yield f"{name}({', '.join(wanted)})", seen[0]


def _attributes(cls: type) -> dict[str, str]:
    """Return what the docstring says of each member."""
    found: dict[str, str] = {}
    name = ""
    section = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2]
    for line in section.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            name, _, description = line.strip().partition(": ")
            found[name] = _cell(description)
        elif line.strip():
            found[name] += f" {_cell(line)}"
    return found


def _annotation(text: str) -> str:
    """Return a type as a reader wants it: with a literal's values in its name's place."""
    names = {"Outcome": hooks.Outcome, "Source": hooks.Source}
    parts = [
        ", ".join(f"`{value}`" for value in get_args(names[part])) if part in names else f"`{part}`"
        for part in text.split(" | ")
    ]
    return " or ".join(parts)


def import_layers() -> Iterator[str]:
    """Yield the layers as import-linter checks them, with the first line of each package's docstring."""
    tools = tomllib.loads((TARGET.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    yield "| layer | packages and modules |\n|---|---|"
    contract = tools["importlinter"]["contracts"][0]
    (root,) = contract["containers"]
    layers = contract["layers"]
    for height, layer in zip(range(len(layers), 0, -1), layers, strict=True):
        members = [
            f"`{name}`: {_cell(_first_line(importlib.import_module(f'{root}.{name}')))}"
            for name in layer.split(" | ")
        ]
        yield f"| {height} | {'<br>'.join(members)} |"


_PUBLIC_AT = {
    "strongroom.registry.async_registry.": "strongroom.aio.",
    "strongroom.runtime.forks.": "strongroom.parallel.",
}
"""Where a definition is public, by the module that it is at home in."""

# Modules beside the names of the package itself, and their readers.
_MODULES = {
    "aio": "For asyncio.",
    "masking": "For programs that print or log.",
    "integrations.asgi": "For ASGI applications.",
    "integrations.django": "For Django.",
    "integrations.fastapi": "For FastAPI.",
    "integrations.keyring": "For programs that read from `keyring`.",
    "integrations.psycopg": "For psycopg_pool.",
    "integrations.pydantic_settings": "For pydantic-settings.",
    "integrations.sqlalchemy": "For SQLAlchemy.",
    "testing": "For tests of plugins.",
    "testing.faults": "For tests of plugins that use a network.",
    "testing.rotation": "For tests of rotation on a backend.",
    "clients": "For authors of plugins.",
    "deadlines": "For authors of plugins.",
    "keys": "For authors of plugins.",
    "parallel": "For authors of plugins.",
    "providers.files": "For authors of plugins.",
    "providers.programs": "For authors of plugins.",
}


def python_page() -> Iterator[str]:
    """Yield every public name of `strongroom` and of the modules beside it, with its signature."""
    yield (
        "# The library\n\nThe names below are imported from `strongroom`, as are the "
        "[errors](errors.md).\n\n## `strongroom`\n"
    )
    for name in sorted(set(strongroom.__all__) - set(strongroom.errors.__all__)):
        yield from _entry(name, getattr(strongroom, name))
    for path, whom in _MODULES.items():
        module = importlib.import_module(f"strongroom.{path}")
        yield f"## `strongroom.{path}`\n\n{whom} {_first_line(module)}\n"
        for name in sorted(module.__all__):
            yield from _entry(name, getattr(module, name))


def _entry(name: str, found: object) -> Iterator[str]:
    if not callable(found) or get_origin(found) is not None:
        shown = re.sub(r"Depends\(.*\)", "Depends(…)", repr(found))
        for home, public in _PUBLIC_AT.items():
            shown = shown.replace(home, public)
        yield f"### `{name}`\n\n`{shown}`\n"
        return
    yield f"### `{name}{_signature(found)}`\n\n{_described(found)}\n"


def _signature(found: object) -> str:
    if not callable(found) or (isinstance(found, type) and getattr(found, "_is_protocol", False)):
        return ""
    try:
        signature = inspect.signature(found)
        if isinstance(found, type) and any(
            one.kind is one.VAR_KEYWORD for one in signature.parameters.values()
        ):
            # Its `__new__` chooses a class and takes whatever `__init__` does, which says it.
            _self, *others = inspect.signature(found.__init__).parameters.values()
            signature = inspect.Signature(others)
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"""(: |-> )(['"])(.*?)\2(?=[,)= ]|$)""", r"\1\3", str(signature))
    text = re.sub(r"<built-in function (\w+)>", r"\1", text.replace(" -> None", ""))
    text = re.sub(r"ForwardRef\('(\w+)'\)", r"\1", text)
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
    "hooks": hooks_page,
    "events": events_page,
    "masking": masking_page,
    "python": python_page,
}


def with_block(text: str, subject: str, lines: Iterable[str]) -> str:
    """Return a page with the block between its two marks written again."""
    begin, end = f"<!-- {subject}: written by `make docs` -->\n", f"<!-- end of {subject} -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        sys.exit(f"no block between {begin.strip()} and {end.strip()}")
    return f"{before}{begin}{chr(10).join(lines)}\n{end}{after}"


def projects() -> dict[str, dict[str, Any]]:
    """Return `project` of each plugin's pyproject.toml by its folder's name."""
    found = sorted(_ROOT.glob("plugins/*/pyproject.toml"))
    return {path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in found}


def backends_table() -> Iterator[str]:
    """Yield the README's table of providers."""
    with_strongroom = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
    yield "| type | where secrets are | install |"
    yield "|---|---|---|"
    for name, project in projects().items():
        types = sorted(
            row.name
            for row in finder.list_components()
            if row.kind == "provider" and row.name.partition(".")[0] in _known_of(project)
        )
        if types:
            page = f"{_BACKENDS}/{name}.md"
            comes_with = any(one.startswith(project["name"]) for one in with_strongroom)
            install = "with `strongroom`" if comes_with else f"`pip install 'strongroom[{name}]'`"
            place = project["description"].removeprefix("Secrets ").rstrip(".")
            yield f"| [{', '.join(f'`{one}`' for one in types)}]({page}) | {place} | {install} |"


def _known_of(project: Mapping[str, Any]) -> list[str]:
    return [kind for kind, owner in KNOWN_TYPES["provider"].items() if owner == project["name"]]


def backends_list() -> Iterator[str]:
    """Yield a line with a link to the page of each backend."""
    pages = sorted((_ROOT / _BACKENDS).glob("*.md"), key=lambda page: _heading(page).lower())
    yield "Backends: " + ", ".join(f"[{_heading(page)}](how-to/backends/{page.name})" for page in pages) + "."


def _heading(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


BLOCKS = {
    "README.md": ("backends", backends_table),
    "docs/index.md": ("backends", backends_list),
    "docs/explanation/architecture.md": ("layers", import_layers),
}


def rendered(lines: Iterable[str]) -> str:
    """Return a page as it is written."""
    return _NOTICE + "\n" + "\n".join(lines).rstrip() + "\n"


def main(*arguments: str) -> None:
    """Write the pages, or compare them."""
    TARGET.mkdir(parents=True, exist_ok=True)
    wanted = {TARGET / f"{name}.md": rendered(page()) for name, page in PAGES.items()}
    for name, (subject, block) in BLOCKS.items():
        wanted[_ROOT / name] = with_block((_ROOT / name).read_text(encoding="utf-8"), subject, block())
    for path, text in wanted.items():
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            sys.exit(f"{path.relative_to(TARGET.parent.parent)} is not what the code says: run `make docs`")


if __name__ == "__main__":
    main(*sys.argv[1:])
