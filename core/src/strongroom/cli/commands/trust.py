"""`strongroom trust`: allow a spec that was found to do more than a closed one."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli import errors, output
from strongroom.cli.app import command
from strongroom.errors import ConfigurationError, SpecError
from strongroom.spec import trust
from strongroom.spec.closed import openings
from strongroom.spec.document import read_document
from strongroom.spec.found import SPEC_FILE, find_spec, passed_over
from strongroom.spec.source import folder_of, read_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import GlobalOptions

_SHOWN_DIGITS = 12


@command("trust")
@click.argument("path", required=False, type=click.Path())
@click.option("--folder", is_flag=True, help="Trust what you write in a folder and below it.")
@click.option("--list", is_flag=True, help="List what is trusted.")
@click.option("--forget", is_flag=True, help="Trust it no longer; with --folder, the folder.")
def trust_command(
    settings: GlobalOptions, *, path: str | None, folder: bool, forget: bool, **flags: bool
) -> int:
    """Trust the spec at PATH, or the one found here, as it is now. Read it first.

    A spec that was found is used without trust only if it stays within its folder and this machine. Trust
    covers the path and the bytes: a changed spec has to be trusted again.

    Example: strongroom trust
    """
    listing = flags["list"]
    errors.the_one_of({"list": listing, "folder": folder})
    errors.the_one_of({"list": listing, "forget": forget})
    if path == "":  # of a variable that is not set; it would be the current folder
        meant = "the current folder" if folder else "the spec that is found here"
        raise errors.UsageError("PATH is empty", hint=f"give a path, or leave out PATH for {meant}")
    if listing:
        if path is not None:
            raise errors.UsageError("--list lists all that is trusted: leave PATH out")
        _list(settings)
    elif forget:
        _forget(settings, Path(path or ".") if folder or path else None, as_folder=folder)
    elif folder:
        _trust_folder(settings, Path(path or "."))
    else:
        _trust_spec(settings, _spec(settings, path))
    return 0


def _spec(settings: GlobalOptions, path: str | None) -> Path:
    """Return the path of the spec: a file, the spec of a folder, or the one found here."""
    named = path if path is not None else settings.spec
    if named is not None:
        return Path(named, SPEC_FILE) if Path(named).is_dir() else Path(named)
    spec = find_spec()
    if spec is None:
        raise errors.UsageError(
            f"there is no {SPEC_FILE} here or above{passed_over()}", hint="name it: `strongroom trust PATH`"
        )
    return Path(spec.path)


def _trust_spec(settings: GlobalOptions, spec: Path) -> None:
    data, _ = read_bytes(spec)
    real = str(spec.resolve())
    effects = list(openings(read_document(data).root, spec.name, str(folder_of(spec))))
    trust.trust(real, data)
    problems = _problems(spec)
    digest = hashlib.sha256(data).hexdigest()
    if settings.json:
        output.as_json({"trusted": real, "sha256": digest, "does": effects})
    else:
        output.lines([f"trusted as it is now: {output.printable(real)}", *(f"  {one}" for one in effects)])
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        settings.warn(
            f"it cannot be used as it is: {problems[0]}{more}; once you have changed it, trust it again"
        )


def _problems(spec: Path) -> Sequence[str]:
    """Return the problems of `spec`, without looking up its references."""
    from strongroom.spec.loader import load_spec

    try:
        load_spec(spec)
    except SpecError as error:
        return error.problems
    except ConfigurationError as error:
        return [error.message]
    return []


def _trust_folder(settings: GlobalOptions, folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder", hint="without --folder a spec is trusted")
    real = str(folder.resolve())
    trust.trust(real, None)
    if settings.json:
        output.as_json({"trusted": real, "sha256": None, "does": []})
    else:
        output.lines([f"trusted, with all that you write there and below: {output.printable(real)}"])


def _forget(settings: GlobalOptions, meant: Path | None, *, as_folder: bool) -> None:
    if meant is None:
        found = find_spec()
        meant = Path(found.path) if found is not None else Path()
    paths = [meant, meant / SPEC_FILE] if meant.is_dir() and not as_folder else [meant]
    real = [os.path.realpath(one) for one in paths]
    forgotten = [one for at in real for one in trust.forget(at)]
    if not forgotten:
        raise errors.UsageError(
            f"{real[0]} is not trusted", code=errors.NOT_FOUND, hint="`strongroom trust --list` has what is"
        )
    above = [
        one.path for one in trust.trusted() if one.digest is None and Path(real[0]).is_relative_to(one.path)
    ]
    for folder in above:
        settings.warn(f"what you write in {folder} and below is still trusted")
    if settings.json:
        output.as_json({"forgotten": sorted({one.path for one in forgotten})})
    else:
        output.lines(
            f"trusted no longer: {output.printable(one)}" for one in sorted({one.path for one in forgotten})
        )


def _list(settings: GlobalOptions) -> None:
    trusted_specs = sorted(trust.trusted(), key=lambda one: (one.path, one.digest or ""))
    if settings.json:
        rows = [
            {"path": one.path, "sha256": one.digest, "at": _time(one.at), "state": _state(one)}
            for one in trusted_specs
        ]
        output.as_json({"trusted": rows})
    elif not trusted_specs:
        output.lines(["no spec is trusted"])
    else:
        output.table(
            ["path", "since", "bytes", "now"],
            (
                [
                    output.printable(one.path),
                    output.moment(datetime.fromtimestamp(one.at, UTC), timespec="seconds"),
                    one.digest[:_SHOWN_DIGITS] if one.digest is not None else "a folder",
                    _state(one),
                ]
                for one in trusted_specs
            ),
        )


def _state(one: trust.Trusted) -> str:
    if one.digest is None:
        return "there" if Path(one.path).is_dir() else "gone"
    try:
        data, _ = read_bytes(Path(one.path))
    except ConfigurationError:
        return "refused" if os.path.lexists(one.path) else "gone"
    return "as trusted" if hashlib.sha256(data).hexdigest() == one.digest else "changed"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
