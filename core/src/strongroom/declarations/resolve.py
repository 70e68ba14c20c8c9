"""What an application declares under `secrets:`, read, typed and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strongroom.declarations.resolution import Resolution, ResolvedSecrets
from strongroom.declarations.value_types import check_text, forbidden
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    TenantContextError,
    UnsupportedOperationError,
    ValidationError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Final

    from strongroom.declarations.resolution import DescribedSource, SecretSource, Status
    from strongroom.spec.secret_plan import Declarations, SecretPlan

__all__ = ["check_text", "keys_of", "mark_due", "require", "resolve", "resolve_all", "select_group"]


_MOST_BATCHES: Final = 5
"""How often the keys of one batch are asked for together, each time without one that is known to be gone."""
_PARALLEL_READS: Final = 8


def select_group(plan: Declarations, group: str | None = None) -> dict[str, SecretPlan]:
    """Return the declarations of `group`, or all.

    Raises:
        ValidationError: No declaration has this group.
    """
    if group is None:
        return dict(plan.secrets)
    chosen = {name: secret for name, secret in plan.secrets.items() if group in secret.groups}
    if not chosen:
        groups = sorted({one for secret in plan.secrets.values() for one in secret.groups})
        raise ValidationError(
            f"no declared secret is in the group {group!r}",
            hint=f"there are: {', '.join(groups) or 'no groups'}",
        )
    return chosen


def keys_of(plan: Declarations, chosen: Mapping[str, SecretPlan]) -> list[str]:
    """Return the keys that `chosen` are read from, each once; a composed secret has those of its parts."""
    needed: Iterable[SecretPlan] = chosen.values()
    if any(secret.compose is not None for secret in chosen.values()):
        from strongroom.declarations.compose import with_dependencies

        needed = with_dependencies(chosen, plan.secrets).values()
    return list(dict.fromkeys(secret.key for secret in needed if secret.compose is None))


def resolve(registry: SecretSource, plan: Declarations, *, group: str | None = None) -> ResolvedSecrets:
    """Return the declared secrets.

    Raises:
        ValidationError: Secrets are missing or wrong; the message names every one.
        PermissionDeniedError: The backend refuses one. Other errors that keep one from being read are raised
            likewise: an unavailable backend, a missing login, a failed decryption, no active tenant.
    """
    found = resolve_all(registry, select_group(plan, group))
    _refuse_wrong(found)
    return ResolvedSecrets(found)


def require(registry: SecretSource, group: str | None = None) -> None:
    """Raise as `resolve` does; what only a tenant can read is left out."""
    found = resolve_all(registry, select_group(registry.plan, group))
    _refuse_wrong({name: one for name, one in found.items() if not isinstance(one.error, TenantContextError)})


def _refuse_wrong(resolutions: Mapping[str, Resolution]) -> None:
    wrong = [one for one in resolutions.values() if one.status in {"missing", "invalid"}]
    for one in resolutions.values():
        if one.unreadable is not None and not isinstance(one.unreadable, ValidationError):
            raise one.unreadable
    if wrong:
        lines = "; ".join(f"{one.plan.name}: {one.problem}" for one in wrong)
        raise ValidationError(
            f"{len(wrong)} of {len(resolutions)} declared secrets are missing or wrong: {lines}"
        )


def resolve_all(registry: SecretSource, secrets: Mapping[str, SecretPlan]) -> dict[str, Resolution]:
    """Return every one of `secrets` as it is found, whatever is wrong with it.

    Where one is composed, its parts are read too, whether or not they are among `secrets`.
    """
    needed: Mapping[str, SecretPlan] = secrets
    order: Iterable[str] = secrets
    if any(secret.compose is not None for secret in secrets.values()):
        from strongroom.declarations.compose import dependency_order, with_dependencies

        needed = with_dependencies(secrets, registry.plan.secrets)
        order = dependency_order(needed)
    values, failures = _read([one.key for one in needed.values() if one.compose is None], registry)
    resolutions: dict[str, Resolution] = {}
    for name in order:
        secret = needed[name]
        resolutions[name] = (
            _resolve_stored(secret, values, failures)
            if secret.compose is None
            else _resolve_composed(secret, resolutions)
        )
        if resolutions[name].status == "missing" and secret.compose is None:
            resolutions[name] = _with_why(resolutions[name], registry)
    return {name: resolutions[name] for name in secrets}


def mark_due(
    registry: DescribedSource, resolutions: Mapping[str, Resolution], now: datetime | None = None
) -> dict[str, Resolution]:
    """Return `resolutions` with the status `due` for good secrets that are older than their `rotate_days`.

    Args:
        registry: Asked for the age of those secrets that have `rotate_days`, and of no others.
        resolutions: Secrets as `resolve_all` returned them.
        now: An aware time; without it the present.
    """
    from datetime import UTC, datetime

    at = now or datetime.now(UTC)
    return {name: _aged(registry, one, at) for name, one in resolutions.items()}


def _aged(registry: DescribedSource, one: Resolution, now: datetime) -> Resolution:
    days = one.plan.rotate_days
    if days is None or one.status != "ok" or one.text is None:
        return one
    try:
        updated = registry.describe_secret(one.plan.key).updated_at
    except (UnsupportedOperationError, SecretNotFoundError):  # the latter if it has its default
        return one
    except StrongroomError as error:
        return one._replace(status=_status(error), problem=str(error), error=error)
    if updated is None or (now - updated).days < days:
        return one
    age = (now - updated).days
    return one._replace(status="due", problem=f"it is {age} days old, to be rotated after {days}")


def _read(keys: list[str], registry: SecretSource) -> tuple[dict[str, str], dict[str, StrongroomError]]:
    left = list(dict.fromkeys(keys))
    failures: dict[str, StrongroomError] = {}
    for _ in range(_MOST_BATCHES):
        try:
            return registry.get_secrets(left), failures
        except SecretNotFoundError as error:
            if error.key not in left:
                break
            failures[error.key] = error
            left.remove(error.key)
        except StrongroomError:
            break  # asked again one by one below, so that each key has its own answer
    from strongroom.parallel import in_parallel  # not needed where all is well

    def ask(key: str) -> str | StrongroomError:
        try:
            return registry.get_secret(key)
        except StrongroomError as error:
            return error

    # In an outage each takes as long as its deadline allows.
    values: dict[str, str] = {}
    for key, answer in zip(left, in_parallel(ask, left, _PARALLEL_READS), strict=True):
        if isinstance(answer, str):
            values[key] = answer
        else:
            failures[key] = answer
    return values, failures


def _is_absent(error: StrongroomError) -> bool:
    return isinstance(error, SecretNotFoundError) and error.reason == "absent"


def _resolve_stored(
    secret: SecretPlan, values: Mapping[str, str], failures: Mapping[str, StrongroomError]
) -> Resolution:
    error = failures.get(secret.key)
    if error is not None and not _is_absent(error):
        return Resolution(secret, _status(error), str(error), error)
    text = values.get(secret.key)
    if text is not None and secret.field is not None:
        from strongroom.declarations.json_fields import member_of

        try:
            text = member_of(whole := text, secret.key, secret.field)
        except SecretNotFoundError:
            text = None
        except ValidationError as wrong:
            return Resolution(secret, "invalid", str(wrong), wrong, refused=whole)
    if text is None:
        text = secret.default
    if text is None:
        if not secret.required:
            return Resolution(secret, "ok")
        field = f" field {secret.field!r}" if secret.field is not None else ""
        problem = f"missing: nothing is stored at {secret.key!r}{field}"
        return Resolution(secret, "missing", problem, SecretNotFoundError(secret.key))
    return _validate(secret, text)


def _with_why(resolution: Resolution, registry: SecretSource) -> Resolution:
    """Add to the problem that there is no store at all, as in a fresh clone."""
    absent = getattr(registry, "absent_store", None)
    why = absent(resolution.plan.key) if absent is not None else None
    return resolution if why is None else resolution._replace(problem=f"{resolution.problem}: {why}")


def _resolve_composed(secret: SecretPlan, resolutions: Mapping[str, Resolution]) -> Resolution:
    from strongroom.declarations.compose import compose

    composition = compose(secret, resolutions)
    if composition.absent and not secret.required:
        return Resolution(secret, "ok")
    if composition.part is not None:
        part, parts = composition.part, tuple(resolutions[name] for name in secret.parts)
        return Resolution(secret, part.status, composition.problem, part.error, parts=parts)
    if composition.absent:
        return Resolution(secret, "missing", composition.problem, SecretNotFoundError(secret.name))
    if composition.text is None:
        return Resolution(secret, "invalid", composition.problem)
    return _validate(secret, composition.text)._replace(
        parts=tuple(resolutions[name] for name in secret.parts)
    )


def _validate(secret: SecretPlan, text: str) -> Resolution:
    value, problem = check_text(secret, text)
    if problem is not None:
        # A placeholder or forbidden value is not a secret: everybody knows it.
        refused = text if forbidden(secret, text) is None else None
        return Resolution(secret, "invalid", problem, refused=refused)
    return Resolution(secret, "ok", text=text, value=value)


def _status(error: StrongroomError) -> Status:
    if isinstance(error, PermissionDeniedError | AuthenticationError | TenantContextError):
        return "denied"
    if isinstance(error, SecretNotFoundError):
        return "missing"  # deleted, destroyed or disabled, as its problem says
    return "unavailable" if isinstance(error, BackendUnavailableError) else "invalid"
