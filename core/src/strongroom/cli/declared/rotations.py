"""The rotations that a spec declares: their objects and their states."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from strongroom.cache.addresses import issues_leases
from strongroom.cli.child.environment import child_environment
from strongroom.cli.command_lines import command_line
from strongroom.cli.errors import UsageError
from strongroom.declarations.json_fields import member_of, with_member
from strongroom.declarations.resolve import check_text
from strongroom.errors import DecryptionError, RotationError, StrongroomError, ValidationError, show_key
from strongroom.pipeline.pipeline import NO_RECORD
from strongroom.rotation import CommandRotator, SecretRotation, ValueComposer, generator_of
from strongroom.rotation.ledger import Ledger
from strongroom.rotation.rotators import DeferredRotator, able
from strongroom.rotation.target import without_value_middleware

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from strongroom.cli.context import GlobalOptions
    from strongroom.pipeline import Pipeline
    from strongroom.registry import SecretProviderRegistry
    from strongroom.rotation import Generator
    from strongroom.spec.plan import Plan, SecretPlan

__all__ = [
    "InFlight",
    "declared_rotations",
    "has_begun",
    "in_flight",
    "rotated_declaration",
    "rotation_of",
    "unfinished",
    "ways_on",
]

_DAYS = 30
_LEAST_PATIENCE_SECONDS = 300
_ROTATORS_PATIENCE_SECONDS = 900
"""More than one step of a rotator takes: their timeouts go to 300 seconds, for each of its connections."""
_LOOK = "look at it; `strongroom rotate KEY --forget` drops it"
_AT_REST = frozenset({"current", "rolled_back"})


def declared_rotations(plan: Plan) -> dict[str, SecretPlan]:
    """Return the declared secrets that have `rotate_days` or `rotate`, by key; the first of a key counts."""
    by_key: dict[str, SecretPlan] = {}
    for secret in plan.secrets.values():
        if secret.key and (secret.rotate_days is not None or secret.rotate is not None):
            by_key.setdefault(secret.key, secret)
    return by_key


def rotation_of(
    registry: SecretProviderRegistry,
    key: str,
    *,
    looks: bool = False,
    declared: SecretPlan | None = None,
    given: str | None = None,
) -> SecretRotation:
    """Return the rotation of `key`: as the spec declares it, else with a new password and no rotator.

    Args:
        registry: The registry that has the secret.
        key: The secret.
        looks: Whether only the state is looked at: then no rotator is needed, and nothing is removed.
        declared: The declaration that `rotated_declaration` chose, if others have the same key.
        given: The new value, or that of the declaration's `field`, instead of a generated one.
    """
    plan = registry.plan
    declared = declared_rotations(plan).get(key) or declared
    if declared is None:
        declared = next((one for one in plan.secrets.values() if one.key == key), None)
    options: Mapping[str, Any] = (declared.rotate if declared is not None else None) or {}
    apply = _program(registry, options, "command")
    verify = _program(registry, options, "verify")
    rotator = None if looks else _rotator(registry, declared)
    patience = _LEAST_PATIENCE_SECONDS if rotator is None else _ROTATORS_PATIENCE_SECONDS
    return SecretRotation(
        registry,
        _DAYS if declared is None or declared.rotate_days is None else declared.rotate_days,
        generator=_given(given) if declared is None else _generator(declared, options, rotator, given),
        apply=None if apply is None else apply.apply,
        verify=None if verify is None else verify.verify,
        rotator=rotator,
        grace_seconds=options.get("grace_seconds", 0),
        jitter=options.get("jitter", 0),
        attempt_seconds=max(patience, 2 * options.get("timeout_seconds", 0)),
        lock=registry.rotation_lock(),
    )


def rotated_declaration(plan: Plan, key: str, named: SecretPlan | None) -> SecretPlan | None:
    """Return the declaration whose member of `key` a rotation replaces; None if it replaces the whole.

    Args:
        plan: What is declared.
        key: The secret.
        named: The declaration that the user named, if it was not the key itself.

    Raises:
        UsageError: It is of another member than the one named, or of one of several, which is not clear.
    """
    declared = declared_rotations(plan).get(key)
    members = {one.field: one for one in plan.secrets.values() if one.key == key and one.compose is None}
    if declared is not None:
        if named is not None and named.field != declared.field:
            raise UsageError(
                f"the rotation of {show_key(key)} replaces {declared.name}, and {named.name} is another part",
                hint=f"rotate {declared.name}, or set {named.name}",
            )
        return declared
    if named is None and len(members) > 1:
        names = ", ".join(one.name for one in members.values())
        raise UsageError(f"{show_key(key)} has several parts: {names}", hint="name the one to rotate")
    return named


class InFlight(NamedTuple):
    """The state of a rotation that has begun and not ended.

    Attributes:
        state: In words, with the error of the last attempt.
        hint: What to do if it can be neither finished nor undone now; None if both can be done.
    """

    state: str
    hint: str | None = None


def ways_on(settings: GlobalOptions, registry: SecretProviderRegistry, key: str) -> tuple[str, str]:
    """Return the command lines that finish, and undo, the rotation of `key` that is in flight."""
    plan, pipeline = registry.plan, settings.pipeline
    return (
        command_line(plan, "rotate", key, "--resume", pipeline=pipeline),
        command_line(plan, "rotate", key, "--rollback", pipeline=pipeline),
    )


def in_flight(
    registry: SecretProviderRegistry, keys: Collection[str] | None = None, *, declared: bool = True
) -> dict[str, InFlight]:
    """Return the rotations of declared secrets that have begun and not ended, by key.

    A rotation is left out if its record may not be read, or its backend is down.

    Args:
        registry: The registry that has the secrets.
        keys: Only these; None for all that are declared with `rotate_days` or `rotate`.
        declared: Whether to leave out those of `keys` that are not declared so.
    """
    rotating = {}
    asked = declared_rotations(registry.plan) if declared or keys is None else keys
    for key in asked:
        if keys is not None and key not in keys:
            continue
        try:
            status = rotation_of(registry, key, looks=True).status_of(key)
        except (RotationError, DecryptionError) as error:
            rotating[key] = InFlight(error.message, error.hint or _LOOK)
        except StrongroomError:
            continue
        else:
            if status.state not in _AT_REST:
                failure = f"; the last attempt failed: {status.last_error}" if status.last_error else ""
                rotating[key] = InFlight(f"a rotation is in flight: {status.state}{failure}")
    return rotating


def unfinished(pipeline: Pipeline, key: str) -> InFlight | None:
    """Return why `key` must not be deleted now, though its value was copied; None where it may be.

    A rotation that has begun may have given the target system a value that nothing else holds, and one that
    has ended may still have to take the value before it away there. Neither goes along with a copy.

    Raises:
        BackendUnavailableError: Nobody can tell.
    """
    try:
        state = SecretRotation(pipeline).status_of(key).state  # of a lease, it refuses to look for a record
        record = Ledger(without_value_middleware(pipeline), key, None).read()
    except (RotationError, DecryptionError) as error:
        return InFlight(error.message, error.hint or _LOOK)
    except NO_RECORD:  # as `delete` has it: who may not do that has kept nothing there
        return None
    if state not in _AT_REST:
        return InFlight(f"a rotation is in flight: {state}")
    if record is not None and record.stale:
        reason = "a rotation has yet to remove the previous value from the target system"
        return InFlight(reason, "`rotate --status` removes it, after the grace")
    return None


def has_begun(pipeline: Pipeline, key: str) -> bool:
    """Return whether a rotation of `key` is in flight that may have touched the target system.

    False also if its record cannot be read: a caller that deletes the secret hears that from the backend.
    """
    if issues_leases(pipeline):
        return False
    with suppress(StrongroomError):
        record = Ledger(without_value_middleware(pipeline), key, None).read()
        return record is not None and record.in_flight and record.begun
    return False


def _program(
    registry: SecretProviderRegistry, rotate: Mapping[str, Any], member: str
) -> CommandRotator | None:
    words: Sequence[str] | None = rotate.get(member)
    if words is None:
        return None
    # As with the programs that `run` starts, it does not get strongroom's own keys and credentials.
    environment = child_environment(os.environ, {}, credentials=registry.environment())
    return CommandRotator(
        words, timeout_seconds=rotate["timeout_seconds"], folder=registry.plan.folder, environment=environment
    )


def _rotator(registry: SecretProviderRegistry, declared: SecretPlan | None) -> DeferredRotator | None:
    if declared is None or not (declared.rotate or {}).get("rotator"):
        return None
    name = declared.name
    return DeferredRotator(lambda: registry.rotator(name))


def _given(value: str | None) -> Generator | None:
    return None if value is None else lambda _key, _old: value


def _generator(
    secret: SecretPlan, rotate: Mapping[str, Any], rotator: DeferredRotator | None, given: str | None
) -> Generator:
    options = dict(rotate.get("generator") or {"type": "password", **(secret.generate or {})})
    make = _given(given) or generator_of(options.pop("type"), **options)

    def generate(key: str, old: str) -> str:
        composer: ValueComposer | None = able(rotator, ValueComposer)
        field = secret.field
        new = make(key, old if field is None or composer is not None else member_of(old, key, field))
        # The rotator composes the value later; the rules are for the whole, and not for this part.
        part = composer is not None and field != "password" and old.lstrip().startswith("{")
        problem = None if part else check_text(secret, new)[1]
        if problem is not None:
            what = "value generated" if given is None else "new value"
            raise ValidationError(
                f"the {what} for {secret.name} breaks one of its rules: {problem}",
                key=key,
                hint="give it a `rotate.generator` that follows them" if given is None else None,
            )
        return new if field is None or composer is not None else with_member(old, key, field, new)

    return generate
