"""`strongroom rotate`: give secrets new values, without downtime."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.declared import names
from strongroom.cli.declared.rotations import (
    declared_rotations,
    in_flight,
    rotated_declaration,
    rotation_of,
    ways_on,
)
from strongroom.cli.input import read_value
from strongroom.cli.output import span
from strongroom.errors import (
    BackendUnavailableError,
    ConflictError,
    SecretNotFoundError,
    StrongroomError,
    show_key,
)
from strongroom.rotation import RotationStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.rotation import RotationResult
    from strongroom.spec.secret_plan import SecretPlan

_NOTHING_DUE = "nothing is due"


@command("rotate")
@click.argument("key", required=False, shell_complete=completions.keys)
@click.option(
    "--due", is_flag=True, help="Rotate every declared secret that is due, and finish rotations in flight."
)
@click.option("--status", is_flag=True, help="Show the state of KEY, or of every declared secret.")
@click.option("--resume", is_flag=True, help="Finish the rotation of KEY that is in flight.")
@click.option(
    "--rollback",
    is_flag=True,
    help="Undo KEY's rotation; after its end, within grace_seconds, restore the previous value.",
)
@click.option("--forget", is_flag=True, help="Drop the record of KEY's rotation; look at it first.")
@click.option("--rehearse", is_flag=True, help="Let KEY's rotator do every step on a temporary user.")
@click.option("--dry-run", is_flag=True, help="With --due: show what would be done.")
@click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read the new value from stdin instead of making one."
)
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def rotate_command(
    settings: GlobalOptions,
    *,
    key: str | None,
    dry_run: bool,
    from_stdin: bool,
    as_key: bool,
    **modes: bool,
) -> int:
    """Give KEY a new value as its `rotate:` says; readers get the old one until the new one works.

    After a crash, or if a program of the rotation fails, --resume continues the rotation and --rollback
    undoes it. KEY may be a declared name.

    Example: strongroom rotate --due
    """
    mode = errors.the_one_of(modes)
    _check_usage(key, mode, dry_run=dry_run, from_stdin=from_stdin)
    with settings.registry() as registry, names.suggesting(registry):
        settings.tell_own_store(registry.plan)
        named = None
        if key is not None:
            key, named = names.target(registry, key, as_key=as_key, doing="rotate")
            settings.check_tenant(registry, key)
        if mode == "status":
            return _status(settings, registry, key)
        if mode == "due":
            return _due(settings, registry, dry_run=dry_run)
        assert key is not None  # noqa: S101  # else `_check_usage` raises
        if mode is None:
            declared = rotated_declaration(registry.plan, key, named)
            value = _from_stdin(settings, key) if from_stdin else None
            rotation = rotation_of(registry, key, declared=declared, given=value)
        else:
            rotation = rotation_of(registry, key)
        if mode == "forget":
            rotation.forget(key)
            return _print_forgotten(settings, key)
        if mode == "rehearse":
            rotation.rehearse(key)
            return _print_rehearsed(settings, key)
        with _suggesting_ways_on(settings, registry, key):
            if mode == "resume":
                result = rotation.resume(key)
            elif mode == "rollback":
                result = rotation.rollback(key)
            else:
                result = rotation.rotate(key)
    if settings.json:
        output.as_json(_as_json(result))
    else:
        output.lines([_line(result)])
    return 0


def _from_stdin(settings: GlobalOptions, key: str) -> str:
    value = read_value(key, settings.warn, raw=False)
    if not value:  # as that of a failed program before a pipe is
        raise errors.UsageError(f"the new value of {show_key(key)} is empty, and nothing was rotated")
    return value


@contextmanager
def _suggesting_ways_on(
    settings: GlobalOptions, registry: SecretProviderRegistry, key: str
) -> Iterator[None]:
    """Add the command lines that help to an error that leaves the rotation of `key` in flight."""
    try:
        yield
    except StrongroomError as error:
        begun = in_flight(registry, [key], declared=False).get(key)
        if begun is not None and begun.hint is None:
            on, back = ways_on(settings, registry, key)
            error.hint = f"{error.hint}: {on}, or {back}" if error.hint else f"{on}, or {back}"
        raise


def _print_forgotten(settings: GlobalOptions, key: str) -> int:
    if settings.json:
        output.as_json({"key": key, "forgotten": True})
    else:
        output.lines(
            [f"the record of {key}'s rotation is dropped; the secret and its versions are unchanged"]
        )
    return 0


def _print_rehearsed(settings: GlobalOptions, key: str) -> int:
    if settings.json:
        output.as_json({"key": key, "rehearsed": True})
    else:
        output.lines([f"{key}: the rotator did every step on a temporary user, which is gone again"])
    return 0


def _check_usage(key: str | None, mode: str | None, *, dry_run: bool, from_stdin: bool) -> None:
    if mode == "due" and key is not None:
        raise errors.UsageError("--due is about all declared secrets: leave KEY out")
    if key is None and mode not in {"due", "status"}:
        raise errors.UsageError(
            "rehearse what?" if mode == "rehearse" else "rotate what?", hint="give KEY, or --due, or --status"
        )
    if dry_run and mode != "due":
        raise errors.UsageError("--dry-run is for --due")
    if from_stdin and mode is not None:
        raise errors.UsageError("--stdin is for the rotation of one KEY")


# --- what is due ---


@dataclass(slots=True)
class _Done:
    """The outcome for one key."""

    key: str
    state: str
    error: Exception | None = None

    def reason(self) -> str | None:
        """Return what went wrong, if anything did."""
        if isinstance(self.error, StrongroomError):
            return str(self.error)
        return None if self.error is None else _message(self.error)


def _message(error: Exception) -> str:
    """Return what `error` says; another library's, which a hook may veto with, may hold a value."""
    return error.message if isinstance(error, StrongroomError) else f"unexpected {type(error).__name__}"


def _due(settings: GlobalOptions, registry: SecretProviderRegistry, *, dry_run: bool) -> int:
    declared = declared_rotations(registry.plan)
    if not declared:
        settings.warn("the spec declares no secret with `rotate_days` or `rotate`")
    if dry_run:
        refused: list[Exception] = []
        steps = {key: _planned(registry, key, refused) for key in declared}
        planned = [(key, step) for key, step in steps.items() if step is not None and step != "wait"]
        if settings.json:
            output.as_json({"due": [{"key": key, "action": action} for key, action in planned]})
        else:
            _print_due(["key", "action"], planned, [key for key, step in steps.items() if step == "wait"])
        return _refusal(settings, refused)
    outcomes = {secret.key: _rotated(settings, registry, secret) for secret in declared.values()}
    done = [one for one in outcomes.values() if isinstance(one, _Done)]
    if settings.json:
        output.as_json(
            {"rotations": [{"key": one.key, "state": one.state, "error": one.reason()} for one in done]}
        )
    else:
        _print_due(
            ["key", "state", "error"],
            [(one.key, one.state, one.reason() or "") for one in done],
            [key for key, one in outcomes.items() if one == "wait"],
        )
    return next((errors.exit_code(one.error) for one in done if one.error is not None), 0)


def _print_due(columns: Sequence[str], rows: Sequence[Sequence[str]], waiting: Sequence[str]) -> None:
    if rows:
        output.table(columns, rows)
    elif not waiting:
        output.lines([_NOTHING_DUE])
    if waiting:
        nothing = "" if rows else f"{_NOTHING_DUE}; "
        output.lines([f"{nothing}failed before, and tried again later: {', '.join(waiting)}"])


def _planned(registry: SecretProviderRegistry, key: str, refused: list[Exception]) -> str | None:
    try:
        return rotation_of(registry, key).due_step(key)
    except SecretNotFoundError:
        return None
    except BackendUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001  # a hook may veto with any; one must not hide the others
        _note_refusal(error, refused)
        return f"unknown: {_message(error)}"


def _note_refusal(error: Exception, refused: list[Exception]) -> None:
    """Add `error` to `refused` if it says nothing about the rotation: nobody was let look."""
    if errors.exit_code(error) == errors.DENIED:
        refused.append(error)


def _refusal(settings: GlobalOptions, refused: Sequence[Exception]) -> int:
    """Print the first refusal, such as a missing tenant, and return the exit code for it; 0 without any."""
    return errors.print_error(refused[0], as_json=settings.json, debug=settings.debug) if refused else 0


def _rotated(
    settings: GlobalOptions, registry: SecretProviderRegistry, secret: SecretPlan
) -> _Done | Literal["wait"] | None:
    """Rotate one secret if it is due; a failure is returned, so that it does not stop the others.

    Returns:
        The outcome; `wait` if it has failed a moment ago; None if there is nothing to do.
    """
    key = secret.key
    rotation = rotation_of(registry, key)
    try:
        step = rotation.due_step(key)
        if step is None or step == "wait":
            return step
        with _suggesting_ways_on(settings, registry, key):
            result = rotation.rotate_if_due(key)
    except ConflictError as error:
        return _Done(key, "in flight", error)
    except SecretNotFoundError as error:
        return _Done(key, "absent", error) if secret.required and secret.default is None else None
    except Exception as error:  # noqa: BLE001  # a hook may veto with any
        return _Done(key, _state(registry, key), error)
    return None if result is None else _Done(key, result.state)


def _state(registry: SecretProviderRegistry, key: str) -> str:
    try:
        return rotation_of(registry, key).status_of(key).state
    except Exception:  # noqa: BLE001  # as above
        return "unknown"


# --- their state ---


def _status(settings: GlobalOptions, registry: SecretProviderRegistry, key: str | None) -> int:
    refused: list[Exception] = []
    if key is not None:
        statuses: list[tuple[str, RotationStatus | None]] = [(key, rotation_of(registry, key).status_of(key))]
    else:
        statuses = [(name, _status_of(registry, name, refused)) for name in declared_rotations(registry.plan)]
        if not statuses and not settings.json:
            output.lines(["the spec declares no secret with `rotate_days` or `rotate`"])
            return 0
    if settings.json:
        output.as_json({"secrets": [_status_as_data(name, status) for name, status in statuses]})
        return _refusal(settings, refused)
    now = datetime.now(UTC)
    output.table(["key", "age", "due", "state", "last error"], _rows(statuses, now))
    return _refusal(settings, refused)


def _status_of(registry: SecretProviderRegistry, key: str, refused: list[Exception]) -> RotationStatus | None:
    try:
        return rotation_of(registry, key).status_of(key)
    except SecretNotFoundError:
        return None
    except BackendUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001  # as above
        _note_refusal(error, refused)
        return RotationStatus(key, "unknown", last_error=_message(error))


def _rows(found: Iterable[tuple[str, RotationStatus | None]], now: datetime) -> Iterable[Sequence[str]]:
    for key, status in found:
        if status is None:
            yield key, "-", "-", "absent", "-"
            continue
        age = "-" if status.rotated_at is None else span((now - status.rotated_at).total_seconds())
        yield key, age, _when_due(status, now), status.state, status.last_error or "-"


def _when_due(status: RotationStatus, now: datetime) -> str:
    if status.due_at is None:
        return "-"
    return output.from_now((status.due_at - now).total_seconds())


def _status_as_data(key: str, status: RotationStatus | None) -> dict[str, Any]:
    if status is None:
        nothing = dict.fromkeys(("version", "rotated_at", "due_at", "last_error"))
        return {"key": key, "state": "absent", **nothing}
    return _with_text_of_times(asdict(status))


def _as_json(result: RotationResult) -> dict[str, Any]:
    return _with_text_of_times(asdict(result))


def _with_text_of_times(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in members.items()
    }


def _line(result: RotationResult) -> str:
    endings = {"current": "has a new value", "rolled_back": "has its old value again"}
    return f"{result.key} {endings.get(result.state, f'is {result.state}')}"
