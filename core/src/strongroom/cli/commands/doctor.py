"""`strongroom doctor`: what is wrong with the set-up, and what to do about it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from strongroom.cli import errors, output
from strongroom.cli.app import command
from strongroom.errors import AuthenticationError, PermissionDeniedError, StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan
    from strongroom.spec.references import Reference

_MAX_SKEW_SECONDS = 60


class Check(NamedTuple):
    """One thing that was looked at. `ok` is None where it is only told."""

    subject: str
    ok: bool | None
    told: str
    hint: str | None = None


@command("doctor")
@click.option("--serve", is_flag=True, help="Look at what `strongroom serve` needs, without starting it.")
def doctor_command(settings: GlobalOptions, *, serve: bool) -> int:
    """Look at the spec, plugins, permissions and every backend: reachable, logged in as whom, clock.

    With --serve, at the section `serve:` alone: its socket, address, certificate and clients, and whether a
    running server is healthy. Ends with 7 where something is wrong.

    Example: strongroom doctor
    """
    findings = [*_serve(settings)] if serve else [*_plugins(), *_spec_and_backends(settings)]
    bad = [one for one in findings if one.ok is False]
    if settings.json:
        output.as_json({"ok": not bad, "findings": [one._asdict() for one in findings]})
    else:
        marks = {True: "ok", False: "WRONG", None: "-"}
        output.table(
            ["what", "state", "about"],
            (
                [one.subject, marks[one.ok], f"{one.told}; {one.hint}" if one.hint else one.told]
                for one in findings
            ),
        )
    return errors.FOUND_SOMETHING if bad else 0


def _plugins() -> Iterator[Check]:
    from strongroom.plugins import finder

    rows = finder.listed()
    for row in rows:
        if row.error is not None:
            told = f"{row.distribution} {row.version}: {row.error}"
            yield Check(f"plugin {row.name}", False, told, f"reinstall or upgrade {row.distribution}")
    usable = sum(row.error is None for row in rows)
    yield Check("plugins", True, f"{usable} components can be used")


def _spec_and_backends(settings: GlobalOptions) -> Iterator[Check]:
    try:
        plan = settings.plan()
    except StrongroomError as error:
        yield Check("spec", False, error.message, error.hint)
        return
    yield Check("spec", True, f"{plan.source}: {len(plan.pipelines)} pipelines, {len(plan.secrets)} secrets")
    try:
        registry = settings.registry()
    except StrongroomError as error:
        yield Check("references", False, error.message, error.hint)
        return
    with registry:
        yield from _key_files(plan)
        for name in registry.pipelines():
            yield from _backend(registry, name)
        yield from _rotations(registry)
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


def _rotations(registry: SecretProviderRegistry) -> Iterator[Check]:
    from strongroom.cli.declared_rotations import in_flight

    for key, (state, hint) in in_flight(registry).items():
        yield Check(f"rotation of {key}", False, state, hint)


def _audit_logs(settings: GlobalOptions) -> Iterator[Check]:
    from strongroom.audit.verify import as_one
    from strongroom.cli.audit_logs import chosen_logs

    try:
        logs = chosen_logs(settings, [], None)
    except StrongroomError:  # none, or none whose key is known without asking a pipeline
        return
    for log in logs:
        if not Path(log.path).exists() and not Path(f"{log.path}.head").exists():
            continue  # nothing was recorded yet
        subject, hint = f"audit log {log.path}", "run `strongroom audit verify`"
        try:
            report = as_one(log.verify())
        except StrongroomError as error:
            yield Check(subject, False, error.message, error.hint)
            continue
        good = report.ok and report.anchored
        told = f"{report.entries} entries, unchanged" if good else str(report.reason)
        yield Check(subject, good, told, None if good else hint)
        for key in (log.key_file, Path(f"{log.path}.key")):
            if key is not None:
                yield from _readable_key(f"key of {log.path}", key)


def _key_files(plan: Plan) -> Iterator[Check]:
    """Look at who may read the files that keys come from: by `key_file`, or by `${file:}`."""
    for name, pipeline in plan.pipelines.items():
        seen: set[str] = set()
        part = pipeline.provider
        if part is not None and not part.reads:
            options = part.options if part.prepare is None else part.prepare(_unused)
            path = (options or {}).get("key_file")
            if path is not None:
                seen.add(str(path))
        for component in pipeline.components():
            seen.update(str(path) for path in component.key_files)
        for path in sorted(seen):
            yield from _readable_key(f"key of {name}", Path(path))


def _readable_key(subject: str, path: Path) -> Iterator[Check]:
    from strongroom.encryption.keyfiles import others_may_read

    if others_may_read(path) is not None:
        yield Check(subject, False, f"others may read {path}", f"chmod 600 {path}")


def _unused(reference: Reference) -> str:
    raise AssertionError(reference.pipeline)  # a part that reads secrets was left out above


def _backend(registry: SecretProviderRegistry, name: str) -> Iterator[Check]:
    from strongroom.middleware.base import innermost

    provider = innermost(registry.pipeline(name))
    subject = f"pipeline {name}"
    try:
        told = _diagnosis(provider)
    except (AuthenticationError, PermissionDeniedError) as error:
        yield Check(subject, False, f"reachable, but refused: {error.message}", error.hint)
        return
    except StrongroomError as error:
        yield Check(subject, False, error.message, error.hint)
        return
    kind = getattr(provider, "type_name", "") or type(provider).__name__
    yield Check(subject, True, ", ".join([kind, *(f"{what}: {said}" for what, said in told.items())]))
    skew = float(told.get("clock_skew", 0))
    if abs(skew) > _MAX_SKEW_SECONDS:
        yield Check(
            f"clock of {name}", False, f"it differs by {skew:.0f} seconds", "set this machine's clock"
        )
    verify = getattr(provider, "verify", None)
    if callable(verify):
        problems = verify()
        hint = "restore a backup: `strongroom restore FILE`" if hasattr(provider, "restore") else None
        for problem in problems:
            yield Check(subject, False, problem, hint)
        if not problems:
            yield Check(f"store of {name}", True, "integrity verified")


def _diagnosis(provider: Any) -> dict[str, str]:
    diagnose = getattr(provider, "diagnose", None)
    if callable(diagnose):
        found: dict[str, str] = diagnose()
        return found
    count = len(provider.list_secrets())
    return {
        "reachable": "yes",
        "can_list": f"yes, {count} keys",
        "as": str(os.environ.get("USER") or os.geteuid()),
    }
