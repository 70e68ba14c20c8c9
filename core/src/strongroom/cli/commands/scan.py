"""`strongroom scan`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.scanning.matcher import Match, build_matcher, find_matches
from strongroom.cli.scanning.targets import Unreadable, files, hooks_folder, staged
from strongroom.spec.found import FoundSpec, find_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import GlobalOptions
    from strongroom.masking import Masker

_COMMAND = "scan --staged"
_OURS = "#!/bin/sh\n# Refuses a commit that holds a stored secret.\n"


@command("scan")
@click.argument("paths", metavar="[PATH...]", nargs=-1, shell_complete=completions.files)
@click.option("--staged", "only_staged", is_flag=True, help="Search what the next commit changes.")
@click.option("--no-submodules", is_flag=True, help="Leave out the work trees of submodules.")
@click.option("--install-hook", is_flag=True, help="Have git run the scan before each commit.")
@click.option("--hook", "as_hook", is_flag=True, hidden=True)
@click.option("--found", hidden=True)
def scan_command(
    settings: GlobalOptions,
    *,
    paths: Sequence[str],
    only_staged: bool,
    no_submodules: bool,
    install_hook: bool,
    as_hook: bool,
    found: str | None,
) -> int:
    """Look for the stored values themselves, plain or encoded, in files; exits with 7 if any are found.

    Without PATH, the current folder is searched; - is standard input. Files that git ignores are left out
    unless they are named. If something cannot be read, it is named, and the exit code is 4 unless a value
    is found elsewhere. Never shows a value.

    Example: strongroom scan --staged
    """
    if "" in paths:  # of a variable that is not set; it would be the current folder
        raise errors.UsageError("a PATH is empty", hint="leave it out to search the current folder")
    if install_hook:
        if paths or no_submodules:
            raise errors.UsageError(
                "--install-hook searches nothing itself, and its hook searches what is staged",
                hint="leave PATH and --no-submodules out",
            )
        _install(settings)
        return 0
    if found is not None:
        settings.found = FoundSpec(found)
    with settings.registry() as registry:
        masker = build_matcher(registry, settings.warn)
    if not masker:
        if as_hook:
            settings.warn("the commit is not searched: no value is stored or declared to look for")
            return 0
        raise errors.UsageError(
            "there is nothing to look for: no value is stored or declared, or all are left out",
            hint="`strongroom list` and `strongroom check` say what there is",
        )
    findings: list[Match] = []
    unread: list[Unreadable] = []
    count = 0
    places = staged(paths) if only_staged else files(paths or ["."], submodules=not no_submodules)
    for place in places:
        why = place if isinstance(place, Unreadable) else _search(*place, masker, findings)
        if why is None:
            count += 1
        else:
            unread.append(why._replace(path=masker.mask_text(why.path)))
            settings.warn(f"{output.printable(unread[-1].path)} is not searched: {why.why}")
    _print(settings, [replace(one, path=masker.mask_text(one.path)) for one in findings], count, unread)
    if findings:
        return errors.FOUND_SOMETHING
    return errors.DENIED if unread else 0


def _search(path: str, content: IO[bytes], masker: Masker, findings: list[Match]) -> Unreadable | None:
    """Add what is found in `content` to `findings`; return why it could not be read to its end, if so."""
    try:
        findings += find_matches(path, content, masker)
    except OSError as error:  # of a disk, or of a file that opens and cannot be read, as some in /proc
        return Unreadable(path, error.strerror or "cannot be read")
    return None


def _print(
    settings: GlobalOptions, findings: Sequence[Match], count: int, unread: Sequence[Unreadable]
) -> None:
    if settings.json:
        rows = [asdict(one) for one in findings]
        skipped = [one._asdict() for one in unread]
        good = not findings and not unread
        output.as_json({"ok": good, "files": count, "findings": rows, "unread": skipped})
        return
    output.lines(
        f"{output.printable(one.path)}:{one.line}:{one.column}: {one.secret} ({one.encoding})"
        for one in findings
    )
    found = output.counted(len(findings), "place") if findings else "nothing"
    rest = f"; {len(unread)} could not be read" if unread else ""
    output.lines([f"{found} in {output.counted(count, 'file')}{rest}"])


def _install(settings: GlobalOptions) -> None:
    hook = hooks_folder() / "pre-commit"
    options = [f"--spec={Path(settings.spec).absolute()}"] if settings.spec is not None else []
    # A spec that was found stays a found one: if a commit or pull changes it, it has to be trusted again.
    found = find_spec() if settings.spec is None else None
    more = [f"--found={Path(found.path).absolute()}"] if found is not None else []
    given = {"profile": settings.profile, "pipeline": settings.pipeline, "tenant": settings.tenant}
    options += [f"--{name}={value}" for name, value in given.items() if value]
    # The interpreter is named by its path, because this environment may not be active at a commit. With -P no
    # code is imported from the work tree, which may be somebody else's branch.
    words = [sys.executable, "-P", "-m", "strongroom", *options, *_COMMAND.split(), "--hook", *more]
    script = f"{_OURS}exec {shlex.join(words)}\n"
    there = hook.read_text(errors="replace") if hook.exists() else None
    if there == script or (there is not None and shlex.join(words) in there):
        _print_hook(settings, hook, f"{hook} does it already", written=False)
        return
    if there is not None and not there.startswith(_OURS):
        line = "add this line to it"
        raise errors.UsageError(
            f"{hook} is there already",
            code=errors.CONFLICT,
            hint=f"{f'{line} instead of the old one' if _COMMAND in there else line}: {shlex.join(words)}",
        )
    hook.parent.mkdir(parents=True, exist_ok=True)
    hook.write_text(script)
    hook.chmod(0o755)
    _print_hook(settings, hook, f"wrote {hook}" if there is None else f"wrote {hook} again", written=True)


def _print_hook(settings: GlobalOptions, hook: Path, line: str, *, written: bool) -> None:
    if settings.json:
        output.as_json({"hook": str(hook), "written": written})
    else:
        output.lines([line])
