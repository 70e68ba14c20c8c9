"""`strongroom plugins`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import errors, output
from strongroom.cli.app import FilePath, command

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions


@command("plugins", context_settings={"ignore_unknown_options": True})
@click.option("--into", metavar="DIR", type=FilePath(path_type=Path), help="Where `new` writes.")
@click.argument("action", type=click.Choice(["new", "kit-exec"]), required=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def plugins_command(
    settings: GlobalOptions, *, action: str | None, words: tuple[str, ...], into: Path | None
) -> int:
    """List the plugins with what they provide, what is wrong with broken ones, and what could be installed.

    `plugins new NAME` writes strongroom-NAME, a small distribution that works and passes the conformance kit.
    `plugins kit-exec -- CMD...` runs that kit on a program for `type: exec`; it exits with 7 if a test fails.
    The program's store must be empty, and is emptied again.

    Example: strongroom plugins
    """
    if action == "new":
        return _new(settings, words, into or Path())
    if into is not None:
        raise errors.UsageError("--into is for `plugins new`")
    if action == "kit-exec":
        return _kit(settings, words)
    from strongroom.plugins import finder, is_shut_out

    rows = finder.list_components()
    unused = _unused({(row.kind, row.name) for row in rows})
    shut_out = {one for one in {distribution for _, _, distribution in unused} if is_shut_out(one)}
    if settings.json:
        members = ("name", "kind", "distribution", "version", "error")
        installed = [{member: getattr(row, member) for member in members} for row in rows]
        others = [dict(zip(members, one, strict=False)) for one in unused]
        output.as_json(
            {
                "plugins": installed,
                "available": [one for one in others if one["distribution"] not in shut_out],
                "shut_out": [one for one in others if one["distribution"] in shut_out],
            }
        )
        return 0
    output.table(
        ["name", "kind", "distribution", "version", "about"],
        [
            *(
                [
                    row.name,
                    row.kind or "?",
                    row.distribution,
                    row.version,
                    f"BROKEN: {row.error}" if row.error else row.summary,
                ]
                for row in rows
            ),
            *([*one, "", _why_unused(one[2], shut_out)] for one in unused),
        ],
    )
    return 0


def _why_unused(distribution: str, shut_out: Collection[str]) -> str:
    if distribution in shut_out:
        return f"shut out by STRONGROOM_PLUGINS: add {distribution} to it"
    return f"not installed: pip install {distribution}"


def _unused(present: Collection[tuple[str | None, str]]) -> list[tuple[str, str, str]]:
    """Return name, kind and distribution of strongroom's own types that are not installed, or shut out."""
    from strongroom.plugins.known import KNOWN_TYPES

    return sorted(
        (name, kind, distribution)
        for kind, types in KNOWN_TYPES.items()
        for name, distribution in types.items()
        if (kind, name) not in present
    )


def _new(settings: GlobalOptions, words: tuple[str, ...], into: Path) -> int:
    from strongroom.cli.errors import UsageError
    from strongroom.plugins.scaffold import create_plugin

    if len(words) != 1:
        raise UsageError("`plugins new` needs the NAME of the new type", hint="strongroom plugins new acme")
    path = create_plugin(words[0], into)
    if settings.json:
        output.as_json({"created": str(path)})
    else:
        output.lines([f"wrote {path}; next: cd {path} && pip install -e '.[test]' && pytest"])
    return 0


def _kit(global_options: GlobalOptions, command: tuple[str, ...]) -> int:
    import importlib.util
    import json
    import os
    import subprocess
    import sys
    import tempfile

    from strongroom import backends
    from strongroom.cli.errors import FOUND_SOMETHING, UsageError

    if not command:
        raise UsageError(
            "`plugins kit-exec` needs a program", hint="strongroom plugins kit-exec python3 store.py"
        )
    backends.ExecSecretProvider(command)  # its error says what to install
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("`plugins kit-exec` needs pytest", hint="pip install pytest")
    kit = ["-m", "pytest", "--pyargs", "strongroom.testing.program_kit", "--import-mode=importlib"]
    settings = [
        "-q",
        "-c",
        os.devnull,
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--rootdir={Path.cwd()}",
    ]
    with tempfile.TemporaryDirectory(prefix="strongroom-kit-") as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(  # noqa: S603  # this interpreter, with pytest
            [sys.executable, *kit, *settings, f"--junit-xml={report}"],
            env={**os.environ, "_STRONGROOM_KIT_COMMAND": json.dumps(command)},
            check=False,
            stdout=sys.stderr if global_options.json else None,
        )
        if global_options.json:
            output.as_json({"ok": not done.returncode, **_outcomes(report)})
    return FOUND_SOMETHING if done.returncode else 0


def _outcomes(report: Path) -> dict[str, Any]:
    """Return how many tests passed and were skipped, and the names of those that failed."""
    from xml.etree import ElementTree as ET  # what pytest wrote just now

    failed, passed, skipped = [], 0, 0
    cases = ET.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314  # as above
    for case in cases:
        outcomes = {part.tag for part in case}
        if outcomes & {"failure", "error"}:
            failed.append(case.get("name"))
        elif "skipped" in outcomes:
            skipped += 1
        else:
            passed += 1
    return {"passed": passed, "skipped": skipped, "failed": failed}
