"""`strongroom backup`, `restore` and `rekey`: what is done to all that is stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli import output
from strongroom.cli.app import command
from strongroom.cli.errors import UsageError
from strongroom.cli.progress import progress
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from strongroom.cli.context import Settings
    from strongroom.pipeline import Pipeline
    from strongroom.pipeline.maintenance import Progress
    from strongroom.spec.plan import Plan


_all_tenants = click.option(
    "--all-tenants",
    is_flag=True,
    help="It concerns all tenants, where the pipeline has tenants: that is meant.",
)


@command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace FILE where there is one.")
@_all_tenants
def backup_command(settings: Settings, *, file: Path, overwrite: bool, all_tenants: bool) -> None:
    """Write a verified copy of the encrypted store to FILE while it is in use; it needs the same key.

    Example: strongroom backup secrets.backup
    """
    from strongroom.pipeline.maintenance import operate, store_of

    with settings.registry() as registry:
        pipeline = registry.pipeline(registry.default_pipeline())

        def call() -> str | None:
            store = store_of(pipeline, "backup")
            store.backup(file, overwrite=overwrite)
            return _key_id(store)

        key = operate(pipeline, "backup", call, all_tenants=all_tenants, writes=False)
    needs = f"it needs the key {key}; " if key is not None else ""
    _tell(
        settings, {"backup": str(file), "key": key}, f"wrote {file}; {needs}keep it away from the store's key"
    )


@command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key-file",
    metavar="F",
    type=click.Path(path_type=Path),
    help="The key that FILE needs, where that is an older one than the store's.",
)
@_all_tenants
def restore_command(settings: Settings, *, file: Path, key_file: Path | None, all_tenants: bool) -> None:
    """Put the backup FILE in the place of the store; a damaged store is moved aside and kept.

    A backup from before a rekey needs the key of its time, which the rekey left beside the key file: the
    error names it. The store is under its own key afterwards.

    Example: strongroom restore secrets.backup
    """
    from strongroom.pipeline.maintenance import operate, store_of

    with settings.registry() as registry:
        pipeline = registry.pipeline(registry.default_pipeline())

        def call() -> str | None:
            store = store_of(pipeline, "restore")
            store.restore(file, **({} if key_file is None else {"key_file": key_file}))
            registry.replaced(pipeline.name)
            return _key_id(store)

        key = operate(pipeline, "restore", call, all_tenants=all_tenants)
    under = f", under the key {key}" if key is not None else ""
    _tell(settings, {"restored": str(file), "key": key}, f"restored {file}{under}")


@command("rekey")
@click.option(
    "--new-key-file",
    metavar="F",
    type=click.Path(path_type=Path),
    help="Take the new key from F, made where it is missing; without it a new key is generated.",
)
@click.option("--values", is_flag=True, help="Encrypt anew what the encryption middleware wrote.")
@click.option("--all", "everything", is_flag=True, help="Do it for all that the spec uses the key file for.")
@_all_tenants
def rekey_command(
    settings: Settings, *, new_key_file: Path | None, values: bool, everything: bool, all_tenants: bool
) -> None:
    """Encrypt the store under a new key, and let that replace the key file last, in one step.

    The old key stays beside the new one, as `<key file>.old-<key id>`: backups need it. Where the spec, in
    whatever profile, uses the key file for something else as well, nothing is done without --all.

    After a crash at any point everything opens with the old key or the new one; call it again then. With
    --values, and where the pipeline has no store in a file, every value is written anew that its encryption
    middleware did not encrypt with the first of its keys, or with the latest version of its transit key: with
    --tenant those of one tenant, with --all-tenants those of each.

    Example: strongroom rekey
    """
    from strongroom.pipeline.maintenance import encryption_of, has

    if values and everything:
        raise UsageError("--values and --all are two things", hint="--all writes values as well")
    with settings.registry() as registry, progress("rekeying") as advance:
        pipeline = registry.pipeline(registry.default_pipeline())
        if everything:
            _rekey_all(settings, pipeline, new_key_file, advance, all_tenants=all_tenants)
        elif values or (encryption_of(pipeline) is not None and not has(pipeline, "rekey")):
            if new_key_file is not None:
                raise UsageError(
                    "--new-key-file is for a store in a file; the middleware's keys are in the spec"
                )
            _rekey_values(settings, pipeline, advance, all_tenants=all_tenants)
        else:
            _rekey_store(settings, pipeline, new_key_file, advance, all_tenants=all_tenants)


def _rekey_values(settings: Settings, pipeline: Pipeline, advance: Progress, *, all_tenants: bool) -> None:
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
    _tell(settings, {"rekeyed": True, "values": written}, f"{written} values were encrypted anew")


def _rekey_store(
    settings: Settings, pipeline: Pipeline, new_key_file: Path | None, advance: Progress, *, all_tenants: bool
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
    kept = "" if old is None else f"; the old key is in {old}, which older backups need"
    told = {"rekeyed": True, "old_key": str(old) if old is not None else None}
    _tell(settings, told, f"everything is encrypted under the new key{kept}")


def _refuse_other_uses(plan: Plan, pipeline: str) -> None:
    from strongroom.registry.rekey import refuse_other_uses
    from strongroom.spec.key_uses import key_uses, own_store

    own = own_store(plan.again(), plan.profile, pipeline)
    if own is not None:
        refuse_other_uses(own.key_file, key_uses(plan.again(), own.key_file), own.path)


def _rekey_all(
    settings: Settings, pipeline: Pipeline, new_key_file: Path | None, advance: Progress, *, all_tenants: bool
) -> None:
    from strongroom.registry.rekey import rekey_all
    from strongroom.spec.key_uses import key_uses, own_key_file

    plan = settings.plan()
    if not os.path.isfile(plan.source):  # noqa: PTH113  # stays text
        raise UsageError("--all is for what a spec uses a key file for: there is no spec file")
    key_file = own_key_file(plan.again(), plan.profile, pipeline.name)
    if key_file is None:
        raise UsageError(
            f"the key of the pipeline {pipeline.name} is not in a file",
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
    old = ", ".join(map(str, done.old))
    lines = [
        f"under the new key: {', '.join(done.places)}",
        f"the old key is in {old}, which older backups need",
        *(f"the audit log under the old key is {log}; a new one begins" for log in done.logs),
        "restart what runs with the old key",
    ]
    told = {
        "rekeyed": True,
        "places": done.places,
        "old_key": str(done.old[0]),
        "logs": [str(log) for log in done.logs],
    }
    _tell(settings, told, *lines)


def _key_in(path: Path | None) -> str | None:
    from strongroom.encryption import generate_key, keyfiles

    if path is None:
        return None
    keyfiles.place(path, f"{generate_key()}\n".encode())
    data = keyfiles.read_bytes(path) or b""
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        pass  # raised below: the error's context would hold the key
    raise ConfigurationError(f"the key file {path} holds no text of a key")


def _key_id(store: Any) -> str | None:
    key_id = getattr(store, "key_id", None)
    return str(key_id()) if callable(key_id) else None


def _tell(settings: Settings, answer: dict[str, Any], *lines: str) -> None:
    if settings.json:
        output.as_json(answer)
    else:
        output.lines(lines)
