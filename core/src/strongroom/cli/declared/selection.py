"""The declared secrets that a command uses: all of them valid, or one error that names those that are not."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from strongroom.cli.errors import UsageError
from strongroom.declarations.resolution import Resolution
from strongroom.declarations.resolve import resolve_all, select_group
from strongroom.errors import SecretNotFoundError, ValidationError
from strongroom.spec.found import passed_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom.declarations.resolution import SecretSource
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import ComponentPlan
    from strongroom.spec.secret_plan import Declarations, SecretPlan

__all__ = [
    "deprecations",
    "how_to_store",
    "newly_undeclared",
    "nothing_declared",
    "read_all",
    "select_secrets",
]


def select_secrets(
    plan: Declarations,
    *,
    group: str | None = None,
    only: str | None = None,
    source: SecretSource | None = None,
) -> dict[str, SecretPlan]:
    """Return the declarations of `group`, and of these the comma-separated names `only`.

    Args:
        plan: What is declared.
        group: Only this group; all if None.
        only: Only these names; all if None.
        source: Asked for a key of the same name, if a name is not declared.

    Raises:
        ValidationError: There is no such group.
        UsageError: A name is not declared, or not in the group.
    """
    chosen = select_group(plan, group)
    if only is None:
        return chosen
    names = [name.strip() for name in only.split(",") if name.strip()]
    if not names:  # as a variable that is not set leaves it: a program would start without any secret
        raise UsageError("--only names no secret", hint="name some, or leave it out for all")
    for name in names:
        if name not in chosen:
            from strongroom.plugins import nearest

            close = nearest(name, chosen)
            hint = f"did you mean {close}?" if close else f"there are: {', '.join(chosen) or 'none'}"
            if name not in plan.secrets and source is not None:
                hint = _line_to_add(source, name) or hint
            raise UsageError(
                f"no secret {name!r} is declared" + (f" in {group!r}" if group else ""), hint=hint
            )
    return {name: chosen[name] for name in names}


def read_all(registry: SecretSource, chosen: Mapping[str, SecretPlan]) -> dict[str, Resolution]:
    """Read the chosen secrets.

    Raises:
        StrongroomError: The backend refuses, or cannot be reached.
        SecretNotFoundError: Required ones are missing; the message names them and all other problems.
        ValidationError: None is missing, but some do not have their type, or break a rule.
    """
    resolutions = resolve_all(registry, chosen)
    for one in resolutions.values():
        if one.status not in {"ok", "due", "missing"} and one.unreadable is not None:
            raise one.unreadable
    hint = "`strongroom check` shows all of them"
    if any(one.status == "missing" for one in resolutions.values()):
        from strongroom.cli.declared.moved import moved
        from strongroom.registry import SecretProviderRegistry

        if isinstance(registry, SecretProviderRegistry):  # else a full load comes here again
            elsewhere = moved(registry, resolutions)
            hint = how_to_store(registry, resolutions, elsewhere) or hint
            resolutions |= elsewhere
    wrong = [one for one in resolutions.values() if one.status not in {"ok", "due"}]
    missing = [one for one in wrong if one.status == "missing"]
    summary = _summary(wrong, len(resolutions))
    if missing:
        first = missing[0].plan
        raise SecretNotFoundError(first.key or first.name, summary, hint=hint)
    if wrong:
        raise ValidationError(summary, hint=hint)
    return resolutions


def how_to_store(
    registry: SecretProviderRegistry, resolutions: Mapping[str, Resolution], elsewhere: Collection[str]
) -> str | None:
    """Return the command that stores a missing secret; None if none is, or another step comes first.

    Args:
        registry: The registry of this command.
        resolutions: Secrets as `resolve_all` returned them.
        elsewhere: Names whose value is at another key, which their problem says.
    """
    absent = [
        one
        for name, one in resolutions.items()
        if one.status == "missing" and one.plan.compose is None and not one.is_gone and name not in elsewhere
    ]
    if not absent:
        return None
    from strongroom.cli.command_lines import line_about

    first = absent[0].plan
    if _reason(absent[0]):  # a new store may not be what is wanted
        return f"{line_about(registry, first.key, 'doctor')} says what to do"
    missing = [one.plan for one in absent if _is_kept(registry, one.plan.key)]
    for secret in missing:
        if secret.generate is not None:
            return f"{line_about(registry, secret.key, 'check', '--fix')} makes {secret.name}"
    if missing:
        secret = missing[0]
        return f"{line_about(registry, secret.key, 'set', secret.name)} stores {secret.name}"
    if registry.explain(first.key).provider == "env":
        return f"{line_about(registry, first.key, 'get', first.name)} says which variable to set"
    return None


def _is_kept(registry: SecretProviderRegistry, key: str) -> bool:
    """Return whether a later command finds what `set` or `check --fix` stores under `key`."""
    from strongroom.cache.addresses import issues_leases
    from strongroom.cli.volatile_stores import OF_THE_PROCESS

    how = registry.explain(key)
    middleware = {*how.middleware}
    while how.fallback:  # its first member gets all writes
        how = how.fallback[0]
        middleware.update(how.middleware)
    component = registry.plan.pipelines[how.pipeline].provider
    return not (
        "read-only" in middleware
        or how.provider in OF_THE_PROCESS
        or (component is not None and component.type == "directory" and not _is_writable(component))
        or issues_leases(registry.pipeline_for(key), written=True)
    )


def _is_writable(directory: ComponentPlan) -> bool:
    return bool(directory.resolved(lambda _: "").get("writable"))


def _line_to_add(source: SecretSource, name: str) -> str | None:
    from strongroom.cli.declared.names import stored
    from strongroom.cli.declared.undeclared import lines_to_add

    if stored(source, name) is None:
        return None
    return f"it is stored: {lines_to_add([name], source.plan.secrets)}"


def nothing_declared(*, own: bool) -> str:
    """Return the message for a plan that declares no secret; `own` if there is no spec either."""
    if not own:
        return "the spec declares no secrets"
    return f"there is no strongroom.yaml here or above, so no secret is declared{passed_over()}"


def newly_undeclared(source: str, profile: str | None, secrets: Mapping[str, SecretPlan]) -> str | None:
    """Return, once, what to add to the spec for secrets stored since the last `run`; None if there are none.

    Args:
        source: The file of the spec.
        profile: Its profile.
        secrets: What it declares.
    """
    from strongroom.spec.remembered_names import take_undeclared

    keys = take_undeclared(source, profile, {one.key for one in secrets.values()})
    if not keys:
        return None
    from strongroom.cli.declared.undeclared import undeclared_notice

    return undeclared_notice(keys, source, secrets)


def deprecations(resolutions: Mapping[str, Resolution]) -> list[str]:
    """Return a warning for each deprecated secret that is in use."""
    return [
        f"{name} is deprecated: {one.plan.deprecated}"
        for name, one in resolutions.items()
        if one.plan.deprecated is not None and (one.text is not None or one.status == "invalid")
    ]


def _summary(wrong: Iterable[Resolution], count: int) -> str:
    wrong = list(wrong)
    problems = [f"{one.plan.name}: {one.problem}" for one in wrong]
    # Without a store, as in a fresh clone, all problems end with the same reason.
    reasons = {_reason(one) for one in wrong}
    why = ""
    if len(wrong) > 1 and len(reasons) == 1 and all(reasons):
        why = f": there is no {reasons.pop()}"
        problems = [problem.removesuffix(why) for problem in problems]
    return f"{len(problems)} of {count} declared secrets cannot be used{why}: {'; '.join(problems)}"


def _reason(one: Resolution) -> str:
    """Return what is not there at all, such as the store; empty if only the secret is missing."""
    return str(one.problem).partition(": there is no ")[2]
