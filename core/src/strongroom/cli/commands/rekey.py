"""`strongroom rekey`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli.app import FilePath, command
from strongroom.cli.embedded_store import all_tenants_option, report
from strongroom.cli.errors import UsageError
from strongroom.cli.output import counted, progress
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.pipeline import Pipeline
    from strongroom.pipeline.maintenance import Progress
    from strongroom.spec.plan import Plan


@command("rekey")
@click.option(
    "--new-key-file",
    metavar="F",
    type=FilePath(path_type=Path),
    help="Take the new key from F, which is made if it is missing; otherwise a new key is generated.",
)
@click.option("--values", is_flag=True, help="Encrypt again what the encryption middleware wrote.")
@click.option("--all", "everything", is_flag=True, help="Encrypt everything again that uses this key file.")
@all_tenants_option
def rekey_command(
    settings: GlobalOptions, *, new_key_file: Path | None, values: bool, everything: bool, all_tenants: bool
) -> None:
    """Encrypt the store under a new key, which replaces the key file in one last step.

    The old key stays beside the new one, as `<key file>.old-<key id>`: backups need it. If the spec, in any
    profile, also uses the key file for something else, nothing is done without --all.

    After a crash at any point, everything opens with the old key or the new one; then run it again.

    With --values, or if the pipeline has no store in a file, it encrypts again each value that is not yet
    under the first key of the encryption middleware, or under the latest version of its transit key; with
    --tenant the values of one tenant, with --all-tenants those of all.

    Example: strongroom rekey
    """
    from strongroom.pipeline.maintenance import encryption_of, has

    if values and everything:
        raise UsageError("--values and --all ask for different things", hint="--all writes values as well")
    with settings.registry() as registry, progress("rekeying") as advance:
        settings.tell_own_store(registry.plan)
        if everything:
            name = registry.default_pipeline()
            _rekey_all(settings, name, new_key_file, advance, all_tenants=all_tenants)
            return
        pipeline = registry.pipeline(registry.default_pipeline())
        if values or (encryption_of(pipeline) is not None and not has(pipeline, "rekey")):
            if new_key_file is not None:
                raise UsageError(
                    "--new-key-file is for a store in a file; the middleware's keys are in the spec"
                )
            _rekey_values(settings, pipeline, advance, all_tenants=all_tenants)
        else:
            _rekey_store(settings, pipeline, new_key_file, advance, all_tenants=all_tenants)


def _rekey_values(
    settings: GlobalOptions, pipeline: Pipeline, advance: Progress, *, all_tenants: bool
) -> None:
    from strongroom.pipeline.maintenance import encryption_of, operate, rekey_values
    from strongroom.tenancy import current_tenant

    encryption = encryption_of(pipeline)
    if encryption is None:
        raise UsageError("this pipeline has no encryption middleware")
    written = operate(
        pipeline,
        "rekey",
        lambda: rekey_values(pipeline, encryption, all_tenants=all_tenants, progress=advance),
        all_tenants=all_tenants or current_tenant() is not None,
    )
    values = counted(written, "value was", "values were")
    report(settings, {"rekeyed": True, "values": written}, f"{values} encrypted again")


def _rekey_store(
    settings: GlobalOptions,
    pipeline: Pipeline,
    new_key_file: Path | None,
    advance: Progress,
    *,
    all_tenants: bool,
) -> None:
    from strongroom.pipeline.maintenance import operate, store_of

    plan = settings.plan()

    def call() -> Path | None:
        store = store_of(pipeline, "rekey")
        if os.path.isfile(plan.source):  # noqa: PTH113  # else there is no spec
            _refuse_other_uses(plan, pipeline.name)
        old: Path | None = store.rekey(new_key_file=new_key_file, progress=advance)
        return old

    old = operate(pipeline, "rekey", call, all_tenants=all_tenants)
    _warn_of_the_same(settings, old, new_key_file)
    kept = "" if old is None else f"; the old key is in {old}, which older backups need"
    result = {
        "rekeyed": True,
        "old_key": str(old) if old is not None else None,
        "old_keys": [str(old)] if old is not None else [],
    }
    report(settings, result, f"everything is encrypted under the new key{kept}")


def _refuse_other_uses(plan: Plan, pipeline: str) -> None:
    from strongroom.registry.rekey import refuse_other_uses
    from strongroom.spec.key_uses import key_uses, own_store

    own = own_store(plan.again(), plan.profile, pipeline)
    if own is not None:
        refuse_other_uses(own, key_uses(plan.again(), own.key_file))


def _rekey_all(
    settings: GlobalOptions,
    name: str,
    new_key_file: Path | None,
    advance: Progress,
    *,
    all_tenants: bool,
) -> None:
    from strongroom.registry.rekey import rekey_all
    from strongroom.spec.key_uses import key_uses, own_key_file

    plan = settings.plan()
    if not os.path.isfile(plan.source):  # noqa: PTH113  # stays text
        raise UsageError("--all is for what a spec uses a key file for: there is no spec file")
    key_file = own_key_file(plan.again(), plan.profile, name)
    if key_file is None:
        raise UsageError(
            f"the key of the pipeline {name} is not in a file",
            hint="name another one: --pipeline NAME",
        )
    done = rekey_all(
        plan.source,
        key_file,
        key_uses(plan.again(), key_file),
        new_key=_key_in(new_key_file),
        all_tenants=all_tenants,
        progress=advance,
    )
    _warn_of_the_same(settings, done.old[0], new_key_file)
    old = ", ".join(map(str, done.old))
    lines = [
        f"under the new key: {', '.join(done.places)}",
        f"the old key is in {old}, which older backups need",
        *(f"the audit log under the old key is {log}; a new one begins" for log in done.logs),
        "restart what runs with the old key",
    ]
    result = {
        "rekeyed": True,
        "places": done.places,
        "old_key": str(done.old[0]),
        "old_keys": [str(path) for path in done.old],
        "logs": [str(log) for log in done.logs],
    }
    report(settings, result, *lines)


def _warn_of_the_same(settings: GlobalOptions, old: Path | None, new: Path | None) -> None:
    """Warn if the new key is the old one: after a leak, that would help nobody."""
    if old is not None and new is not None and _secret_in(old) == _secret_in(new):
        settings.warn(f"{new} holds the key that was in use before: anyone who has it can read everything")


def _secret_in(path: Path) -> bytes | None:
    from strongroom.encryption import keyfiles
    from strongroom.encryption.keys import read_key

    text = keyfiles.text_in(keyfiles.read_bytes(path) or b"")
    return read_key(text, older=True).secret if text else None


def _key_in(path: Path | None) -> str | None:
    from strongroom.encryption import generate_key, keyfiles

    if path is None:
        return None
    data = keyfiles.read_bytes(path)  # before it is made: a folder cannot be
    if data is None:
        with suppress(OSError):  # what is wrong with the folder is said of the file
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        keyfiles.place(path, keyfiles.content_of(generate_key()))
        data = keyfiles.read_bytes(path) or b""
    text = keyfiles.text_in(data)
    if text is not None:
        return text
    raise ConfigurationError(f"the key file {path} holds no key", hint="make one with `strongroom keygen`")
