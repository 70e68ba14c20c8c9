"""`strongroom set`."""

from __future__ import annotations

import hashlib
import re
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.child.environment import refuse_dangerous
from strongroom.cli.declared import names
from strongroom.cli.declared.members import put_member
from strongroom.cli.declared.sightings import note_sightings
from strongroom.cli.declared.undeclared import note_undeclared
from strongroom.cli.input import read_value
from strongroom.cli.scanning.leased import refuse_writes
from strongroom.cli.volatile_stores import warn_of_loss
from strongroom.declarations.value_types import check_text
from strongroom.errors import BackendUnavailableError, ConfigurationError, ConflictError, show_key
from strongroom.paths.atomic_write import write_atomically
from strongroom.providers.files import folder_locked
from strongroom.spec.editing import with_declaration
from strongroom.spec.models import VARIABLE_NAME
from strongroom.spec.source import read_bytes
from strongroom.spec.trust import trust

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan, SecretPlan

_PATIENCE_SECONDS = 5.0


@command("set")
@click.argument("key", shell_complete=completions.keys)
@click.argument("value", required=False)
@click.option("--generate", is_flag=True, help="Make a random value, as the spec's `generate:` says.")
@click.option("--raw", is_flag=True, help="Keep the newline that stdin, or a pasted text, ends with.")
@click.option("--allow-empty", is_flag=True, help="Let the value be empty, even if it replaces another one.")
@click.option(
    "--declare", is_flag=True, help="Add KEY to the spec's `secrets:`, so that `run` hands it over."
)
@click.option("--key", "as_key", is_flag=True, help="Treat KEY as a key, never as a declared name.")
def set_command(
    settings: GlobalOptions,
    *,
    key: str,
    value: str | None,
    generate: bool,
    raw: bool,
    allow_empty: bool,
    declare: bool,
    as_key: bool,
) -> None:
    """Store VALUE under KEY; without VALUE read stdin, or ask on a terminal without showing it.

    KEY may also be a declared name: if no key has that name, it stands for the key in its declaration, and
    for the `field` there. With --declare, KEY becomes a declared name; the rest of the spec stays as it is,
    and the changed spec is trusted.

    Example: printf %s "$PASSWORD" | strongroom set database/password
    """
    if generate and (value is not None or raw):
        raise errors.UsageError("--generate makes the value: give neither VALUE nor --raw")
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        registry.explain(key)  # refuses a bad key before anything is asked for
        name, added = key, _declared(registry.plan, key) if declare else None
        key, declared = names.target(registry, key, as_key=as_key, doing="set")
        settings.check_tenant(registry, key)
        refuse_writes(registry.pipeline_for(key), key)
        pipeline = registry.explain(key).pipeline
        if generate:
            value = _generated(registry.plan, key, declared)
        elif value is None:
            value = read_value(key, settings.warn, raw=raw, allow_empty=allow_empty)
        else:
            settings.warn(
                "a value on the command line is visible in the list of processes and stays in the shell's "
                "history; pipe it in, or leave it out to be asked for it"
            )
        absent = registry.absent_store(key) if registry.plan.origin != "own" else None
        if not value and not allow_empty:
            _tell_empty(settings, registry, key)
        against = _rules_broken(registry.plan, key, declared, value)
        if added is not None:  # the value may have taken long, and the spec be another one by now
            added = _declared(registry.plan, name)
        _store(registry, key, declared, value)
        if added is not None:
            _write_spec(registry.plan, added, name)
        else:
            note_undeclared(registry.plan, [key])
        note_sightings(registry, [one for one in registry.plan.secrets.values() if one.key == key])
        if absent is not None and registry.absent_store(key) is None:
            settings.warn(f"{absent}: made from scratch; secrets that others have stored are not in it")
        if against:
            settings.warn(f"it is stored, but `run` refuses it: {'; '.join(against)}")
        warn_of_loss(settings, registry, [key])
        if settings.json:
            more = {"declared": added is not None} if declare else {}
            output.as_json({"key": key, "pipeline": pipeline, "generated": generate, **more})
        else:
            settings.note(f"stored {show_key(key)} in {pipeline}")


def _store(registry: SecretProviderRegistry, key: str, declared: SecretPlan | None, value: str) -> None:
    """Store `value` under `key`, or as the member of it that is declared."""
    if declared is not None and declared.field is not None:
        put_member(registry, key, declared.field, value)
    else:
        registry.set_secret(key, value)


def _tell_empty(settings: GlobalOptions, registry: SecretProviderRegistry, key: str) -> None:
    """Warn that the new value is empty, as that of a failed program before a pipe is.

    Raises:
        UsageError: There is another value, which it would replace.
    """
    if names.stored(registry, key):
        raise errors.UsageError(
            f"the new value of {show_key(key)} is empty, and nothing was stored",
            hint="give --allow-empty if that is intended",
        )
    settings.warn(f"the value of {show_key(key)} is empty; --allow-empty says that it is intended")


def _declared(plan: Plan, name: str) -> bytes | None:
    """Return the spec with a declaration of `name`; None if it has one.

    Raises:
        UsageError: There is no spec to add it to, or it cannot be the name of a declared secret.
        ConflictError: The spec has changed since it was read.
    """
    if plan.origin == "own":
        raise errors.UsageError(
            "there is no spec to declare it in", hint="run `strongroom init`, or name one with --spec"
        )
    if name in plan.secrets:
        return None
    if re.fullmatch(VARIABLE_NAME, name) is None:
        raise errors.UsageError(
            f"{show_key(name)} cannot be declared: it is not the name of a variable",
            hint="letters, digits and '_'; or declare it yourself, with this as its `key`",
        )
    refuse_dangerous([name])
    data = _unchanged(plan)
    if data is None:
        raise ConflictError(
            f"{plan.source} has changed since it was read, and nothing was stored", hint="do it again"
        )
    return with_declaration(data, name, name)


def _unchanged(plan: Plan) -> bytes | None:
    """Return the bytes of the spec; None if they are not those that the plan was made from."""
    data, _ = read_bytes(Path(plan.source))
    return data if hashlib.sha256(data).hexdigest() == plan.digest else None


def _rules_broken(plan: Plan, key: str, named: SecretPlan | None, value: str) -> list[str]:
    """Return which rules in the declarations of `key` `value` breaks; of a member, those of `named` alone."""
    if named is not None and named.field is not None:
        declared = [named]
    else:
        declared = [one for one in plan.secrets.values() if one.key == key and one.field is None]
    problems = {one.name: check_text(one, value)[1] for one in declared if one.compose is None}
    return [f"{name}: {problem}" for name, problem in problems.items() if problem is not None]


def _write_spec(plan: Plan, data: bytes, name: str) -> None:
    """Replace the spec, or the file that it links to, with `data`, which declares `name`, and trust it.

    Raises:
        ConflictError: The spec has changed since it was read: the change would be lost, or trusted unread.
            Or another program keeps its folder locked.
    """
    real = Path(plan.source).resolve()
    # Two calls that both look before one of them writes would lose the declaration of the other.
    with ExitStack() as lock:
        try:
            lock.enter_context(folder_locked(real.parent, seconds=_PATIENCE_SECONDS, provider="spec"))
        except BackendUnavailableError:
            raise _not_declared(name, f"another program keeps {real.parent} locked") from None
        except PermissionError:
            pass  # a folder that may be written and not read has no lock
        if _unchanged(plan) is None:
            raise _not_declared(name, f"{plan.source} has changed meanwhile")
        write_atomically(real, data, like=real.stat())
    with suppress(ConfigurationError):  # without a home nothing is trusted
        trust(str(real), data)


def _not_declared(name: str, why: str) -> ConflictError:
    return ConflictError(
        f"{show_key(name)} is stored, and not declared: {why}",
        hint=f"add it yourself under `secrets:`: {name}: {{key: {name}}}",
    )


def _generated(plan: Plan, key: str, named: SecretPlan | None) -> str:
    from strongroom.generators import generate_password

    declared = named or next(
        (secret for secret in plan.secrets.values() if secret.key == key and secret.generate), None
    )
    return generate_password(**(dict(declared.generate or {}) if declared is not None else {}))
