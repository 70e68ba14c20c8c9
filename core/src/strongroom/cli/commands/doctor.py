"""`strongroom doctor`: what is wrong with the set-up, and what to do about it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from strongroom.cli import errors, output
from strongroom.cli.app import command
from strongroom.cli.output import counted
from strongroom.errors import (
    AuthenticationError,
    ConflictError,
    PermissionDeniedError,
    StrongroomError,
    show_key,
)

if TYPE_CHECKING:
    from strongroom.audit.key_source import KeySource
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan

_MAX_SKEW_SECONDS = 60
_MANY_SECONDS = 120
_LOG_SECONDS = 3.0
"""How long a log may be held by those who write to it."""
_NEAR_ITS_END = 1 / 6
"""A lease is late if less than this part of its first life is left: it is renewed or replaced at a third."""


class Check(NamedTuple):
    """A finding. `ok` is None if it is for information only."""

    subject: str
    ok: bool | None
    message: str
    hint: str | None = None

    def as_data(self) -> dict[str, Any]:
        """Return the members by name; `told` is what `message` was called first, and stays for programs."""
        return {**self._asdict(), "told": self.message}


@command("doctor")
@click.option("--serve", is_flag=True, help="Check what `strongroom serve` needs, without starting it.")
def doctor_command(settings: GlobalOptions, *, serve: bool) -> int:
    """Check the spec, plugins, permissions and every backend: whether it answers, its login and its clock.

    It also checks second levels of caches, the rotation lock, rotations that have not ended, leases that
    were left behind or are about to end, and audit logs.

    With --serve, it checks only the section `serve:`: its socket, address, certificate and clients, and
    whether a running server is healthy. Exits with 7 if something is wrong.

    Example: strongroom doctor
    """
    findings = [*_serve(settings)] if serve else [*_plugins(), *_spec_and_backends(settings)]
    bad = [one for one in findings if one.ok is False]
    if settings.json:
        output.as_json({"ok": not bad, "findings": [one.as_data() for one in findings]})
    else:
        marks = {True: "ok", False: "WRONG", None: "-"}
        output.table(
            ["what", "state", "about"],
            ([one.subject, marks[one.ok], errors.with_hint(one.message, one.hint)] for one in findings),
        )
    return errors.FOUND_SOMETHING if bad else 0


def _plugins() -> Iterator[Check]:
    from strongroom.plugins import finder

    rows = finder.list_components()
    for row in rows:
        if row.error is not None:
            problem = f"{row.distribution} {row.version}: {row.error}"
            hint = row.hint or f"reinstall or upgrade {row.distribution}"
            yield Check(f"plugin {row.name}", False, problem, hint)
    usable = sum(row.error is None for row in rows)
    yield Check("plugins", True, f"{counted(usable, 'component')} can be used")


def _spec_and_backends(settings: GlobalOptions) -> Iterator[Check]:
    try:
        plan = settings.plan()
    except StrongroomError as error:
        yield Check("spec", False, error.message, error.hint)
        return
    if not plan.pipelines:
        from strongroom.registry.routing import no_default

        nothing = no_default(plan, "", ())
        yield Check("spec", False, nothing.message, nothing.hint)
        return
    about = f"{counted(len(plan.pipelines), 'pipeline')}, {counted(len(plan.secrets), 'declared secret')}"
    yield Check("spec", True, f"{plan.source}: {about}")
    try:
        registry = settings.registry()
    except StrongroomError as error:
        yield Check("references", False, error.message, error.hint)
        return
    with registry:
        yield from _key_files(plan)
        for name in registry.pipelines():
            yield from _backend(registry, name)
            yield from _second_levels(registry, name)
        yield from _rotations(settings, registry)
    yield from _leases(plan)
    yield from _audit_logs(settings)


def _serve(settings: GlobalOptions) -> Iterator[Check]:
    from strongroom.plugins import command_of

    try:
        # The distribution of the command has these checks too; so it must be installed and allowed.
        package = command_of("serve", "strongroom-serve").__module__.partition(".")[0]
        registry = settings.registry()
    except StrongroomError as error:
        yield Check("serve", False, error.message, error.hint)
        return
    with registry:
        for found in importlib.import_module(f"{package}.doctor").findings(registry):
            yield Check(*found)


def _second_levels(registry: SecretProviderRegistry, name: str) -> Iterator[Check]:
    """Look at the stores that caches of a pipeline share with other processes."""
    from strongroom.providers.base import layers

    for layer in layers(registry.pipeline(name)):
        fault = getattr(getattr(layer, "cache", None), "fault", None)
        if callable(fault):
            subject = f"second level of {name}'s cache"
            error = fault()
            if error is None:
                yield Check(subject, True, "it answers, and keeps what is written")
            else:
                meanwhile = "meanwhile each process asks the backend itself"
                yield Check(
                    subject,
                    False,
                    f"it does not work: {_reason(error)}; {meanwhile}",
                    getattr(error, "hint", None),
                )


def _reason(error: Exception) -> str:
    """Return what is wrong with a store, in words; a third party's error may hold anything."""
    if isinstance(error, StrongroomError):
        return error.message
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__


def _rotations(settings: GlobalOptions, registry: SecretProviderRegistry) -> Iterator[Check]:
    from strongroom.cli.declared.rotations import in_flight, ways_on

    for key, (state, hint) in in_flight(registry).items():
        on, back = ways_on(settings, registry, key)
        ways = f"{on} finishes it, {back} undoes it"
        yield Check(f"rotation of {key}", False, state, ways if hint is None else hint)
    try:
        lock = registry.rotation_lock()
        if lock is not None:
            with lock.lock("strongroom-doctor", ttl_seconds=_MAX_SKEW_SECONDS, wait_seconds=0):
                yield Check("lock of rotations", True, "it can be taken")
    except ConflictError:  # another doctor has it
        pass
    except StrongroomError as error:
        yield Check("lock of rotations", False, f"nothing can be rotated: {error.message}", error.hint)


def _leases(plan: Plan) -> Iterator[Check]:
    """Look at the leases of the spec in the ledger of this user's processes; no backend is asked."""
    try:
        yield from _noted_leases(plan)
    except StrongroomError as error:
        yield Check("leases", False, error.message, error.hint)
    except OSError as error:
        problem = f"the ledger cannot be read: {error.filename}: {error.strerror}"
        yield Check("leases", False, problem, "let this user read it, or run as its owner")


def _noted_leases(plan: Plan) -> Iterator[Check]:
    from strongroom.leases import LeaseLedger

    now, count = datetime.now(UTC), 0
    for file in LeaseLedger().files():
        alive = file.alive()
        if file.has_unread():
            yield Check(
                "leases", False, f"leases in {file.path} cannot be read", "see `strongroom lease list`"
            )
        # A lease that was replaced stays in the ledger until it ends, beside the new one.
        newest = {
            (one.pipeline, one.tenant, one.key): one
            for one in sorted(file.entries(), key=lambda one: one.expires_at)
            if one.is_of(plan.location())
        }
        for (pipeline, _, key), lease in newest.items():
            subject = f"lease of {show_key(key)} in {pipeline}"
            left = (lease.expires_at - now).total_seconds()
            count += 1
            if not alive:
                if left > 0:
                    finding = f"process {lease.pid} died and left it behind; it would live for {_time(left)}"
                    yield Check(subject, False, finding, "run `strongroom lease sweep`")
                continue
            hint = f"look into the log of process {lease.pid}, and at the pipeline above"
            if left <= 0:
                yield Check(subject, False, f"it has ended, and process {lease.pid} got no other", hint)
            elif left < lease.life_seconds * _NEAR_ITS_END:
                finding = f"it ends in {_time(left)}, and process {lease.pid} neither renewed nor replaced it"
                yield Check(subject, False, finding, hint)
    if count:
        yield Check("leases", None, f"{counted(count, 'lease')} of this spec in the ledger")


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MANY_SECONDS else output.span(seconds)


def _audit_logs(settings: GlobalOptions) -> Iterator[Check]:
    from strongroom.audit.key_source import KeySource
    from strongroom.audit.verify import as_one
    from strongroom.cli.audit_logs import chosen_logs

    try:
        logs = chosen_logs(settings, [], None)
    except StrongroomError:  # there is no log, or its key is in a pipeline
        return
    for log in logs:
        subject, hint = f"audit log {log.path}", "run `strongroom audit verify`"
        if not Path(log.path).exists() and not Path(f"{log.path}.head").exists():
            # Nothing was recorded yet, and nothing is made here.
            folder = Path(log.path).parent
            if not os.access(folder, os.W_OK | os.X_OK):
                problem = f"every operation is refused: {folder} does not exist, or you may not write to it"
                yield Check(subject, False, problem, "make the folder, or let this user write there")
            continue
        try:
            report = as_one(log.verify())
        except StrongroomError as error:
            yield Check(subject, False, error.message, error.hint)
            continue
        keys = KeySource(log.key, log.key_file)
        good = report.ok and report.anchored
        if not good:  # and it is left as it is
            yield Check(subject, False, str(report.reason), hint)
        else:
            yield _writable(
                Check(subject, True, f"{counted(report.entries, 'entry', 'entries')}, unchanged"),
                log.path,
                keys,
            )
        weakness = keys.weakness(log.path)
        if weakness is not None:
            again = "move log, .head and key away together, and give a key of `strongroom keygen`"
            yield Check(f"key of {log.path}", False, weakness, again)
        for key in (log.key_file, Path(f"{log.path}.key")):
            if key is not None:
                yield from _readable_key(f"key of {log.path}", key)


def _writable(good: Check, path: str, keys: KeySource) -> Check:
    """Return the finding `good` on a log that verifies; where nothing can be added to it, that."""
    from strongroom.audit.file_sink import FileSink

    sink = FileSink(path, keys, fsync=False, timeout=_LOG_SECONDS)
    try:
        sink.check(0)
    except StrongroomError as error:
        return Check(good.subject, False, f"operations are refused: {error.message}", error.hint)
    finally:
        sink.close()
    return good


def _key_files(plan: Plan) -> Iterator[Check]:
    """Look at who may read the files of keys, those of `key_file` and of `${file:}`."""
    for name, pipeline in plan.pipelines.items():
        paths: set[str] = set()
        part = pipeline.provider
        if part is not None and not part.reads:
            path = part.resolved().get("key_file")
            if path is not None:
                paths.add(str(path))
        for component in pipeline.components():
            paths.update(component.key_files)
        for path in sorted(paths):
            yield from _readable_key(f"key of {name}", Path(path))
    others = {"a hook": plan.hooks, "a rotator": tuple(plan.rotators.values())}
    others |= {"rotation_lock": tuple(filter(None, [plan.rotation_lock]))}
    for what, components in others.items():
        for path in sorted({path for component in components for path in component.key_files}):
            yield from _readable_key(f"key of {what}", Path(path))


def _readable_key(subject: str, path: Path) -> Iterator[Check]:
    from strongroom.encryption.keyfiles import others_may_read

    if others_may_read(path) is not None:
        yield Check(subject, False, f"others may read {path}", f"chmod 600 {path}")


def _backend(registry: SecretProviderRegistry, name: str) -> Iterator[Check]:
    from strongroom.providers.base import innermost

    provider = innermost(registry.pipeline(name))
    subject = f"pipeline {name}"
    try:
        diagnosis = _diagnosis(provider)
    except StrongroomError as error:
        refused = "not logged in: " if isinstance(error, AuthenticationError) else ""
        refused = "refused: " if isinstance(error, PermissionDeniedError) else refused
        yield Check(subject, False, f"{refused}{error.message}", error.hint)
        return
    kind = getattr(provider, "type_name", "") or type(provider).__name__
    yield Check(subject, True, f"{kind}: {', '.join(_in_words(diagnosis))}")
    skew = float(diagnosis.get("clock_skew", 0))
    if abs(skew) > _MAX_SKEW_SECONDS:
        yield Check(f"clock of {name}", False, f"it differs by {skew:.0f} s", "set this machine's clock")
    absent = provider.absent() if hasattr(provider, "absent") else None
    verify = getattr(provider, "verify", None)
    if absent is not None:
        copy = "a fresh clone has none: copy it here, or restore a backup; the first `set` makes a new one"
        yield Check(f"store of {name}", None, absent, copy)
    elif callable(verify) and diagnosis.get("store") in {None, "there"}:
        try:
            problems = verify()
        except StrongroomError as error:  # a wrong key, mostly: the other checks go on
            yield Check(f"store of {name}", False, error.message, error.hint)
            return
        hint = "restore a backup: `strongroom restore FILE`" if hasattr(provider, "restore") else None
        for problem in problems:
            yield Check(subject, False, problem, hint)
        if not problems:
            yield Check(f"store of {name}", True, "integrity verified")


def _diagnosis(provider: Any) -> Mapping[str, str]:
    diagnose = getattr(provider, "diagnose", None)
    if callable(diagnose):
        found: dict[str, str] = diagnose()
        return found
    from strongroom.hooks.identity import system_user

    count = len(provider.list_secrets())
    return {"reachable": "yes", "can_list": f"yes, {count} keys", "as user": system_user()}


def _in_words(diagnosis: Mapping[str, str]) -> Iterator[str]:
    """Yield the findings of a provider, in words."""
    for subject, answer_text in diagnosis.items():
        answer, _, more = answer_text.partition(", " if answer_text.startswith("yes, ") else ": ")
        if subject == "reachable" and answer_text == "yes":
            yield "reachable"
        elif subject == "can_list" and answer in {"yes", "no"}:
            keys = f"{'lists' if answer == 'yes' else 'may not list'} keys"
            number = more.removesuffix(" keys")
            yield counted(int(number), "key") if number.isdecimal() else f"{keys}: {more}" if more else keys
        elif subject == "identity":
            unknown = answer_text.startswith(("unknown", "not "))
            yield f"login {answer_text}" if unknown else f"logged in as {answer_text}"
        elif subject == "clock_skew":
            seconds = float(answer_text)
            yield f"its clock differs by {seconds:.0f} s" if abs(seconds) >= 1 else "its clock agrees"
        else:
            yield f"{subject.replace('_', ' ')} {answer_text}"
