"""`strongroom set`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from strongroom.cli import completions, errors, output
from strongroom.cli.app import command
from strongroom.cli.input import read_value

if TYPE_CHECKING:
    from strongroom.cli.context import Settings
    from strongroom.spec.plan import Plan


@command("set")
@click.argument("key", shell_complete=completions.keys)
@click.argument("value", required=False)
@click.option("--generate", is_flag=True, help="Make a random value, as the spec's `generate:` says.")
@click.option("--raw", is_flag=True, help="Keep a trailing newline of stdin.")
def set_command(settings: Settings, key: str, value: str | None, generate: bool, raw: bool) -> None:
    """Store VALUE under KEY; without VALUE read stdin, or ask on a terminal without showing it.

    Example: printf %s "$PASSWORD" | strongroom set database/password
    """
    if generate and (value is not None or raw):
        raise errors.UsageError("--generate makes the value: give neither VALUE nor --raw")
    with settings.registry() as registry:
        settings.tell_own_store(registry.plan)
        pipeline = registry.explain(key).pipeline  # refuses a bad key before anything is asked for
        if generate:
            value = _generated(registry.plan, key)
        elif value is None:
            value = read_value(key, raw=raw)
        else:
            settings.warn(
                "a value on the command line is seen in the list of processes and stays in the shell's "
                "history; pipe it in, or leave it out to be asked for it"
            )
        absent = registry.absent_store(key) if registry.plan.origin != "own" else None
        registry.set_secret(key, value)
        if absent is not None and registry.absent_store(key) is None:
            settings.warn(f"{absent}: made anew; secrets that others have stored are not in it")
        if settings.json:
            output.as_json({"key": key, "pipeline": pipeline, "generated": generate})


def _generated(plan: Plan, key: str) -> str:
    from strongroom.generators import generate_password

    declared = next(
        (secret for secret in plan.secrets.values() if secret.key == key and secret.generate), None
    )
    return generate_password(**(dict(declared.generate or {}) if declared is not None else {}))
