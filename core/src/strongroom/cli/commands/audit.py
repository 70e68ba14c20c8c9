"""`strongroom audit`: verify the audit trail, and read it."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import click

from strongroom.audit.query import (
    Entry,
    Filter,
    count_uses,
    entries,
    follow,
    parse_time,
    read_since,
    started_at,
)
from strongroom.audit.serialization import NOTE
from strongroom.audit.verify import MISSING, AuditReport
from strongroom.cli import completions, errors, output
from strongroom.cli.app import COMMANDS, Command, FilePath
from strongroom.cli.audit_logs import AuditLog, chosen_logs, in_order, there
from strongroom.hooks import Outcome

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

# A misspelt one would select nothing, as if nothing had been done. A test compares them with the page.
OPERATIONS: Final = (
    *("get", "set", "delete", "list", "describe", "history", "stage", "promote", "discard", "rotate"),
    *("watch", "change", "issue", "renew", "revoke", "backup", "restore", "rekey", NOTE),
)
_MOST_DAYS: Final = 36_500
"""A hundred years; two thousand ago, the calendar of `datetime` has not begun."""
_COLUMNS = ("started_at", "actor", "operation", "key", "outcome", "source", "tenant", "pipeline", "reason")


@click.group("audit", short_help=COMMANDS["audit"])
def audit_command() -> None:
    """Verify and read the audit trail; by default the logs of the spec's audit hooks.

    Example: strongroom audit verify
    """


@audit_command.command("verify", cls=Command, short_help="Check that the logs are what was written to them.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=FilePath(), shell_complete=completions.files)
@click.option("--key-file", metavar="F", type=FilePath(path_type=Path), help="The file that holds the key.")
@click.option("--allow-unanchored", is_flag=True, help="Accept a log that has lost its head.")
@click.option(
    "--first",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    help="Accept that the pieces with the entries before N were removed.",
)
@click.option(
    "--expect-head", metavar="HASH", help="An anchor kept elsewhere, through which the chain must go."
)
@click.pass_obj
def verify_command(
    settings: GlobalOptions,
    *,
    paths: Sequence[str],
    key_file: Path | None,
    allow_unanchored: bool,
    first: int,
    expect_head: str | None,
) -> int:
    """Say whether each log is what was written to it, and if not, name the first line that is wrong.

    Several PATHs are one chain in pieces, as logrotate leaves them, in any order. Pieces that are not named
    are looked for beside the log: all files whose names begin with its name and a dot, unpacked if they end
    with `.gz`. Exits with 6 if a log does not verify, if entries before its first one are missing, or if its
    end is not anchored.

    Example: strongroom audit verify audit.jsonl.1 audit.jsonl
    """
    logs = chosen_logs(settings, paths, key_file)
    if paths:
        logs = in_order(logs)
        logs = [logs[-1]._replace(earlier=tuple(log.path for log in logs[:-1]))]
    if first > 1 and len(logs) > 1:
        raise errors.UsageError(f"there are {len(logs)} logs", hint=f"name one, such as {logs[0].path}")
    verified = [
        (_shown(path, log), report) for log in logs for path, report in log.verify(expect_head, first)
    ]
    reports = [report for _, report in verified]
    good = [report.ok and (report.anchored or allow_unanchored) for report in reports]
    if settings.json:
        by_path = [{"path": path, **asdict(report)} for path, report in verified]
        worst = by_path[good.index(False)] if False in good else by_path[-1]
        summary = {name: worst[name] for name in ("first_bad_line", "reason", "head")}
        output.as_json(
            {
                "ok": all(report.ok for report in reports),
                "entries": sum(report.entries for report in reports),
                "anchored": all(report.anchored for report in reports),
                **summary,
                "logs": by_path,
            }
        )
    else:
        output.lines(f"{safe(path)}: {_summary(report)}" for path, report in verified)
    return 0 if all(good) else errors.DECRYPTION


def _shown(path: str, log: AuditLog) -> str:
    """Return the path as it was given on the command line, if it was."""
    return log.path if path == os.path.abspath(log.path) else path  # noqa: PTH100  # stays text


def _summary(report: AuditReport) -> str:
    if not report.ok:
        where = f" at line {report.first_bad_line}" if report.first_bad_line is not None else ""
        hint = ""
        if str(report.reason).endswith(MISSING):
            hint = ": name the pieces that hold them, or give --first if they were removed on purpose"
        return f"NOT OK{where}: {report.reason}{hint}"
    lines = output.counted(report.entries, "entry", "entries")
    if report.first > 1:
        lines += f" from number {report.first}"
    if not report.anchored:
        return f"ok, {lines}, but NOT ANCHORED: {report.reason}"
    return f"ok, {lines}, head {report.head}"


# --- reading ---


def _filters(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose lines."""
    for option in reversed(
        (
            click.option(
                "--key",
                metavar="KEY",
                shell_complete=completions.keys,
                help="Only this key; `app/*` means all keys that begin with app/.",
            ),
            click.option("--tenant", "of_tenant", metavar="ID", help="Only what was done for this tenant."),
            click.option("--actor", metavar="NAME", help="Only what this actor did."),
            click.option(
                "--operation",
                metavar="NAME",
                type=click.Choice(OPERATIONS),
                help="Only this operation: get, set, delete, list, …",
            ),
            click.option(
                "--outcome",
                metavar="NAME",
                type=click.Choice(get_args(Outcome)),
                help="Only this outcome: ok, not_found, denied, error, vetoed.",
            ),
            click.option("--since", metavar="TIME", help="ISO 8601, or how long ago: 30m, 2h, 7d."),
            click.option("--until", metavar="TIME", help="As --since."),
        )
    ):
        function = option(function)
    return function


def _filter(**given: str | None) -> Filter:
    now = datetime.now(UTC)
    times: dict[str, datetime | None] = {"since": None, "until": None}
    for name in times:
        text = given[name]
        if text is not None:
            try:
                times[name] = parse_time(text, now)
            except (ValueError, OverflowError) as error:
                raise errors.UsageError(
                    f"--{name}: {text!r} is not a time",
                    hint="write 2026-01-31, 2026-01-31T12:00:00Z, 30m, 2h or 7d",
                ) from error
    since, until = times["since"], times["until"]
    if since is not None and until is not None and since > until:
        raise errors.UsageError(
            "--since is later than --until, and nothing is between", hint="exchange their times"
        )
    return Filter(
        key=given["key"],
        tenant=given["of_tenant"],
        actor=given["actor"],
        operation=given["operation"],
        outcome=given["outcome"],
        **times,
    )


@audit_command.command("show", cls=Command, short_help="Show lines of the audit trail.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=FilePath(), shell_complete=completions.files)
@_filters
@click.option("--last", metavar="N", type=click.IntRange(min=1), help="Only the last N of them.")
@click.pass_obj
def show_command(
    settings: GlobalOptions, /, paths: Sequence[str], last: int | None, **given: str | None
) -> None:
    """Show the lines of the audit trail that the options select; `verify` checks whether they are true.

    Example: strongroom audit show --key 'database/*' --outcome denied --since 7d
    """
    selected = deque(filter(_filter(**given), _all(settings, paths)), maxlen=last)
    if settings.json:
        output.as_json({"entries": list(selected)})
    else:
        drawn = output.is_drawn()
        columns = [
            one for one in _COLUMNS if not drawn or any(_member(entry, one) is not None for entry in selected)
        ]
        rows = ([_table_cell(entry, name) for name in columns] for entry in selected)
        output.table([name.replace("started_at", "time") for name in columns], rows)


@audit_command.command("tail", cls=Command, short_help="Show the last lines, and with -f each new one.")
@click.argument("path", required=False, type=FilePath(), shell_complete=completions.files)
@_filters
@click.option(
    "-n", "last", metavar="N", type=click.IntRange(min=0), default=10, help="How many lines to begin with."
)
@click.option("-f", "--follow", "following", is_flag=True, help="Show what is added, until Ctrl-C.")
@click.pass_obj
def tail_command(
    settings: GlobalOptions, /, *, path: str | None, last: int, following: bool, **given: str | None
) -> None:
    """Show the last lines of the audit trail, and with -f each one that is added; with --json as JSON lines.

    Example: strongroom audit tail -f --outcome denied
    """
    logs = chosen_logs(settings, [path] if path is not None else [], None)
    if len(logs) > 1:
        raise errors.UsageError(f"there are {len(logs)} logs", hint=f"name one, such as {logs[0].path}")
    chosen = _filter(**given)
    selected: Iterator[Entry]
    if following:
        selected = follow(logs[0].path, last, chosen)
    else:
        newest = there(logs[0], [path] if path is not None else logs[0].pieces())[-1:]
        trail = _lines(settings, newest)
        selected = iter(deque(filter(chosen, trail), maxlen=last))
    for entry in selected:
        output.lines([json.dumps(entry) if settings.json else "  ".join(_row(entry)).rstrip()])


@audit_command.command("stats", cls=Command, short_help="Count who did what to which secret.")
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=FilePath(), shell_complete=completions.files)
@_filters
@click.option(
    "--never-read-days",
    metavar="N",
    type=click.IntRange(min=1, max=_MOST_DAYS),
    help="Show instead the stored keys that nobody has read in N days.",
)
@click.pass_obj
def stats_command(
    settings: GlobalOptions, /, *, paths: Sequence[str], never_read_days: int | None, **given: str | None
) -> None:
    """Count who did what to which secret, and show when it was last done.

    Example: strongroom audit stats --operation get --since 30d
    """
    if never_read_days is not None:
        _never_read(settings, paths, never_read_days)
        return
    counted = count_uses(filter(_filter(**given), _all(settings, paths)))
    rows = [
        {**asdict(use), "last": use.last.isoformat() if use.last is not None else None} for use in counted
    ]
    if settings.json:
        output.as_json({"uses": rows})
        return
    columns = ("count", "refused", "actor", "operation", "key", "tenant", "last")
    output.table(columns, ([_cell(row[name]) for name in columns] for row in rows))


def _never_read(settings: GlobalOptions, paths: Sequence[str], days: int) -> None:
    from strongroom.tenancy import current_tenant

    since = datetime.now(UTC) - timedelta(days=days)
    trail = _all(settings, paths)
    first = next(trail, None)
    begin = started_at(first) if first is not None else None
    if begin is None or begin > since:
        extent = f"it begins {begin:%Y-%m-%d %H:%M}" if begin is not None else "it is empty"
        settings.warn(f"the audit trail does not go back {days} days: {extent}")
    read = read_since(itertools.chain([first] if first is not None else [], trail), since)
    with settings.registry() as registry:
        tenant = current_tenant()
        keys = [key for key in registry.list_secrets() if (tenant, key) not in read]
    if settings.json:
        output.as_json({"never_read": keys, "days": days})
    else:
        output.lines(map(safe, keys))


def _all(settings: GlobalOptions, paths: Sequence[str]) -> Iterator[Entry]:
    """Yield the lines of all logs; one of the spec that is not there yet does not hide the others."""
    logs = chosen_logs(settings, paths, None)
    pieces = {log: [log.path] if paths else log.pieces() for log in logs}
    known = [log for log in logs if any(map(os.path.lexists, pieces[log]))]
    for log in logs:
        if paths or not known or log in known:
            yield from _lines(settings, there(log, pieces[log]))
        else:
            settings.warn(f"there is no audit log {safe(log.path)} yet")


def _lines(settings: GlobalOptions, paths: Sequence[str]) -> Iterator[Entry]:
    """Yield the lines of logs, and warn of a file that is something else."""
    for path in paths:
        entry = None
        for entry in entries(path):
            yield entry
        if entry is None and os.path.getsize(path):  # noqa: PTH202  # stays text
            settings.warn(f"{safe(path)} has no line of an audit log; is it another file?")


def _row(entry: Entry) -> list[str]:
    return [_cell(_member(entry, name)) for name in _COLUMNS]


def _member(entry: Entry, name: str) -> object:
    """Return the member of an entry for a column; for a note of the log itself, the reason is its text."""
    note = entry.get("note")
    if name != "reason" or not isinstance(note, dict):
        return entry.get(name)
    more = note.get("why") or (f"{note['bytes']} bytes" if "bytes" in note else "")
    return f"{note.get('what', '')}: {more}"


def _table_cell(entry: Entry, name: str) -> str:
    """Return a cell of a table; on a terminal, times are shown to the second, to save space."""
    at = started_at(entry) if name == "started_at" and output.is_drawn() else None
    return _cell(_member(entry, name)) if at is None else output.moment(at)


def _cell(value: object) -> str:
    return "-" if value is None else safe(str(value))


def safe(text: str) -> str:
    """Return `text` without control characters: a refused key may hold some, to deceive a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]
