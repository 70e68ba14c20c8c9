"""`strongroom init`: a spec, an encrypted store and its key."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import completions, output
from strongroom.cli.app import FilePath, command
from strongroom.cli.child.environment import why_dangerous
from strongroom.cli.detect import guess_type, is_setting, suggested_pipelines
from strongroom.cli.errors import UsageError
from strongroom.cli.overwrite import refuse_existing, refuse_key, refuse_store
from strongroom.errors import ConfigurationError
from strongroom.paths.atomic_write import write_atomically
from strongroom.spec.trust import trust

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.cli.formats.dotenv_file import Assignment

SPEC, STORE, KEY = "strongroom.yaml", "secrets.enc", "app.key"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_HEAD = f"""\
# What strongroom assembles; `strongroom schema` prints the JSON Schema of this file for an editor.
version: 1

pipelines:
  app:
    # An encrypted store in one file. Keep its key away from its backups.
    provider: {{type: file, file_path: {STORE}, key_file: {KEY}}}
    middleware:                       # outermost first, the order a read meets them
      - {{type: retry, attempts: 3}}
"""
_TAIL = """
profiles:
  test:                               # `strongroom --profile test …`: nothing is stored
    pipelines:
      app: {provider: {type: memory}}
"""
_NO_SECRETS = """
# What the application needs; `strongroom check` looks, `strongroom run -- CMD` hands it over.
# secrets:
#   DATABASE_PASSWORD: {key: database/password, min_length: 12, generate: {length: 32}}
"""


@command("init")
@click.option(
    "--from",
    "source",
    metavar=".env",
    type=FilePath(),
    shell_complete=completions.files,
    help="Store the names and values in this file.",
)
@click.option("--force", is_flag=True, help="Replace an existing spec; a store or key is never replaced.")
def init_command(settings: GlobalOptions, source: str | None, force: bool) -> None:
    """Write strongroom.yaml, make an encrypted store with its key, and keep both out of git.

    Example: strongroom init --from .env
    """
    from strongroom.backends import FileSecretProvider
    from strongroom.cli.formats.dotenv_file import expanded, template
    from strongroom.cli.formats.table_reader import read_dotenv

    spec = Path(settings.spec or SPEC)
    refuse_existing(spec, overwrite=force, hint="use it as it is, or write it again with --force")
    _refuse_store_or_key(spec)
    assignments = {}
    left_out: list[str] = []

    def left_out_because(name: str) -> str | None:
        why = why_dangerous(name)
        left_out.extend([name] if why is not None else [])
        return why

    if source is not None:
        if Path(source).suffix.lower() in {".json", ".yaml", ".yml", ".toml", ".ini", ".properties", ".xml"}:
            raise UsageError(
                f"{source} does not end as a .env file does, and --from reads nothing else",
                hint=f"run `strongroom init`, then `strongroom import {source}`",
            )
        assignments = read_dotenv(Path(source), settings.warn, left_out=left_out_because, variables=True)
    values = expanded(assignments)
    composed = {name: template(one.parts) for name, one in assignments.items() if _is_composed(one)}
    folder = spec.absolute().parent
    kept = [name for name in (STORE, KEY) if os.path.lexists(folder / name)]
    store = FileSecretProvider(folder / STORE, key_file=folder / KEY)  # its plugin may be missing
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignored = _ignore(folder, source)  # first: where that fails there is nothing yet that git could take
    _fill_store(store, {name: value for name, value in values.items() if name not in composed})
    beside = _names_beside(folder) if source is None else {}
    text = _spec_text(values, composed, beside).encode()
    write_atomically(spec, text, mode=0o644)
    with suppress(ConfigurationError):  # it is closed, so it can be used without trust
        trust(str(spec.resolve()), text)
    _note_sightings(spec)
    tracked = _tracked(folder)
    if tracked:
        settings.warn(
            f"git tracks {' and '.join(tracked)} already, so .gitignore does not help: run "
            f"`git rm --cached {' '.join(tracked)}`, and `strongroom rekey` if others have seen the key"
        )
    if settings.json:
        output.as_json(
            {
                "spec": str(spec),
                "store": STORE,
                "key_file": KEY,
                "imported": sorted(values),
                "settings": sorted(name for name, value in values.items() if is_setting(name, value)),
                "ignored": ignored,
            }
        )
        return
    output.lines([_written(spec, kept), *_summary(source, values, left_out)])


def _refuse_store_or_key(spec: Path) -> None:
    """Refuse to write the spec where a store or a key is, or will be.

    Raises:
        UsageError: `spec` is such a file.
    """
    if spec.name in {STORE, KEY}:
        raise UsageError(
            f"{spec.name} is the name of the store or of its key", hint="name another file with --spec"
        )
    refuse_store(spec, "init")
    refuse_key(spec, "init")


def _is_composed(one: Assignment) -> bool:
    from strongroom.cli.formats.dotenv_file import Name

    return any(isinstance(part, Name) for part in one.parts)


def _names_beside(folder: Path) -> dict[str, str]:
    """Return the names and values of the `.env` beside the spec; empty if it cannot be read."""
    from strongroom.cli.formats.dotenv_file import expanded
    from strongroom.cli.formats.table_reader import read_dotenv

    path = folder / ".env"
    try:
        found = expanded(read_dotenv(path, lambda _: None)) if path.is_file() else {}
    except (UsageError, OSError):
        return {}
    return {name: value for name, value in found.items() if _VARIABLE.fullmatch(name)}


def _fill_store(store: Any, values: dict[str, str]) -> None:
    with store:
        store.create()
        present = store.get_secrets(values)
        changed = sorted(name for name, value in present.items() if value != values[name])
        if changed:
            raise UsageError(
                f"the store holds other values of {', '.join(changed)}",
                code=8,
                hint="delete them there, or leave them out of the file",
            )
        missing = {name: value for name, value in values.items() if name not in present}
        if missing:
            store.set_secrets(missing)


def _note_sightings(spec: Path) -> None:
    """Note that the imported values are in this store, in case the spec leads to another one later."""
    from strongroom.cli.declared.sightings import note_sightings
    from strongroom.registry import SecretProviderRegistry

    with SecretProviderRegistry(spec) as registry:
        note_sightings(registry, registry.plan.secrets.values())


def _spec_text(values: Mapping[str, str], composed: Mapping[str, str], beside: Mapping[str, str]) -> str:
    """Return the text of the spec; `values` were imported, `beside` is a `.env` that was not."""
    text = _HEAD + "".join(suggested_pipelines(os.environ)) + "default: app\n"
    if values:
        heading = "\n# What the application needs: rules such as `min_length: 12` go here.\n"
        return f"{text}{heading}secrets:\n{_declared(values, composed)}{_TAIL}"
    if beside:
        heading = "\n# What .env names. `strongroom import .env` stores the values; then remove the #s."
        lines = _declared(beside, {}).splitlines()
        return f"{text}{heading}\n# secrets:\n" + "".join(f"# {line}\n" for line in lines) + _TAIL
    return text + _NO_SECRETS + _TAIL


def _declared(values: Mapping[str, str], composed: Mapping[str, str]) -> str:
    """Return a declaration for each name, with the type that both name and value suggest."""
    from strongroom.spec.editing import quoted

    lines = []
    for name, value in values.items():
        kind = guess_type(name, value)
        rules = f", type: {kind}" if kind else ""
        rules += ", mask: false" if is_setting(name, value) else ""
        where = f"key: {name}"
        if name in composed:
            where = f"compose: {quoted(composed[name])}"
        lines.append(f"  {name}: {{{where}{rules}}}\n")
    return "".join(lines)


def _ignore(folder: Path, source: str | None) -> list[str]:
    """Add store, key and the imported `.env` to `.gitignore`, and return the lines that were added."""
    path = folder / ".gitignore"
    text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""
    # SQLite keeps its own files beside the store; a rekey writes the next key beside the key.
    present = {line.strip().removeprefix("/") for line in text.splitlines()}
    wanted = [STORE, f"{STORE}-*", KEY, f"{KEY}.*"]
    if source is not None and Path(source).absolute().parent == folder and Path(source).is_file():
        wanted.append(Path(source).name)
    missing = [line for line in wanted if line not in present]
    _append(path, missing, after=text)
    # A later line such as `!*.key` has the last word, so our names go behind it again.
    names = [one for one in wanted if one not in missing and "*" not in one]
    ignored = _git_lists(folder, "check-ignore", "--no-index", "--stdin", "-z", names=names)
    again = [] if ignored is None else [one for one in names if one not in ignored]
    _append(path, again, after="\n")
    return missing + again


def _append(path: Path, lines: list[str], *, after: str) -> None:
    if lines:
        gap = "" if not after or after.endswith("\n") else "\n"
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(gap + "".join(f"{line}\n" for line in lines))
        except OSError as error:
            error.filename = str(path)  # that of a write has none
            raise


def _tracked(folder: Path) -> list[str]:
    """Return which of store and key are in the index of git; none without git or a work tree."""
    return _git_lists(folder, "ls-files", "-z", "--", STORE, KEY) or []


def _git_lists(folder: Path, *words: str, names: Sequence[str] = ()) -> list[str] | None:
    """Return the names that a command of git prints; None without git, or outside a work tree.

    `names` are its input.
    """
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    try:
        done = subprocess.run(  # noqa: S603  # words of our own
            ["git", *words],  # noqa: S607  # the user's own git
            check=False,
            capture_output=True,
            cwd=folder,
            input=listed,
        )
    except OSError:
        return None
    if done.returncode > 1:
        return None
    return sorted(os.fsdecode(one) for one in done.stdout.split(b"\0") if one)


def _written(spec: Path, kept: Sequence[str]) -> str:
    """Return what was made; `kept` are store and key where they were there before."""
    made = {STORE: f"the store {STORE}", KEY: f"its key {KEY}"}
    new = [text for name, text in made.items() if name not in kept]
    wrote = f"{spec}, {new[0]} and {new[1]}" if not kept else " and ".join([str(spec), *new])
    were = f"; {' and '.join(kept)} {'was' if len(kept) == 1 else 'were'} there before" if kept else ""
    return f"wrote {wrote}{were}; git ignores store and key"


def _summary(source: str | None, values: dict[str, str], left_out: list[str]) -> list[str]:
    lines: list[str] = []
    if source is not None:
        took = output.counted(len(values), "secret")
        left = "; it still holds unencrypted values: delete it" if values and Path(source).is_file() else ""
        left += f", except {', '.join(dict.fromkeys(left_out))}" if left and left_out else ""
        lines.append(f"took over {took} from {source}{left}")
        settings = [name for name, value in values.items() if is_setting(name, value)]
        if settings:
            lines.append(f"settings, not secrets, so they are not masked: {', '.join(settings)}")
    elif Path(".env").is_file():
        lines.append("there is a .env file: `strongroom import .env` takes its values over")
    return lines
