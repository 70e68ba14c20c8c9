"""`strongroom check`: whether every declared secret is there, typed and fresh.

It does without click; `commands/check.py` has the options.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli import errors, output
from strongroom.cli.child.environment import REFUSED, is_dangerous
from strongroom.cli.declared.literal_keys import weak_audit_keys, weak_literal_audit_keys, wrong_literal_keys
from strongroom.cli.declared.moved import moved
from strongroom.cli.declared.selection import deprecations, how_to_store, nothing_declared
from strongroom.cli.declared.sightings import note_resolved
from strongroom.declarations.resolution import Resolution
from strongroom.declarations.resolve import check_text, mark_due, resolve_all, select_group
from strongroom.errors import AuditError, ConfigurationError, SpecError, StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.declarations.resolution import Status
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["check"]

_SAMPLES: Final = 20
"""How many values are generated to see whether any can be used: a pattern may fit only some."""
_UNSEEN: Final = "a uid is seen only on a Unix socket; add serve.socket"


def check(
    settings: GlobalOptions,
    *,
    fix: bool = False,
    offline: bool = False,
    group: str | None = None,
    form: str | None = None,
) -> int:
    """Check the declared secrets, report the result in the format `form`, and return the exit code.

    Raises:
        UsageError: Two options exclude one another.
    """
    settings.refuse_format(form)
    if offline and fix:
        raise errors.UsageError("--fix stores secrets, --offline asks no backend: choose one")
    next_step = None
    if offline:
        resolutions = _without_backends(settings, group)
    else:
        resolutions, next_step = _at_backends(settings, group, fix=fix)
    for line in deprecations(resolutions):
        settings.warn(line)
    good = all(one.status == "ok" for one in resolutions.values())
    _print(settings, resolutions, "json" if settings.json else form or "table", good=good, offline=offline)
    if next_step is not None:
        settings.note(next_step)
    return 0 if good else errors.FOUND_SOMETHING


def _without_backends(settings: GlobalOptions, group: str | None) -> dict[str, Resolution]:
    """Return the declared secrets that cannot be good, whatever is stored."""
    plan = settings.plan()
    _refuse_wrong_keys(plan)
    chosen = select_group(plan, group)
    resolutions = _refused({name: _as_declared(plan, one) for name, one in chosen.items()})
    for problem in (*_of_profiles(plan), *weak_literal_audit_keys(plan)):
        settings.warn(problem)
    _warn_of_no_default(settings, plan)
    return {name: one for name, one in resolutions.items() if one.status != "ok"}


def _at_backends(
    settings: GlobalOptions, group: str | None, *, fix: bool
) -> tuple[dict[str, Resolution], str | None]:
    """Return the declared secrets as their backends have them, and how to store a missing one.

    Args:
        settings: Those of the command.
        group: Only this group; all if None.
        fix: Whether to make the repairs that are possible first.
    """
    with settings.registry() as registry:
        _warn_of_no_default(settings, registry.plan)
        chosen = select_group(registry.plan, group)
        resolutions = _refused(_mark_rotating(registry, mark_due(registry, resolve_all(registry, chosen))))
        elsewhere = moved(registry, resolutions)
        resolutions |= elsewhere
        if fix:
            resolutions = _fixed(registry, resolutions, elsewhere)
        note_resolved(registry, resolutions.values())
        for problem in (*_of_serve(registry), *weak_audit_keys(registry.plan)):
            settings.warn(problem)
        next_step = None if fix else how_to_store(registry, resolutions, elsewhere)
    return resolutions, next_step


def _refuse_wrong_keys(plan: Plan) -> None:
    """Raise for literal keys that are not keys: nobody makes the components, who would refuse them."""
    problems = tuple(wrong_literal_keys(plan))
    if problems:
        raise SpecError("\n".join(problems), problems=problems)


def _of_serve(registry: SecretProviderRegistry) -> Iterator[str]:
    """Yield a warning for each client of `serve:` that cannot make requests; none without the tokens."""
    if registry.plan.serve is None:
        return
    with suppress(StrongroomError):
        options = registry.serve_options() or {}
        if options["listen"] is not None and options["socket"] is None:
            for one in options["clients"]:
                if one.uid is not None:
                    yield f"no request can be from serve's client {one.name}: {_UNSEEN}"


def _warn_of_no_default(settings: GlobalOptions, plan: Plan) -> None:
    """Warn if every command needs `--pipeline`, or there is none at all."""
    if settings.pipeline is None and plan.default is None and not plan.routes:
        from strongroom.registry.routing import no_default

        error = no_default(plan, "", tuple(plan.pipelines))
        settings.warn(f"{error.message}; {error.hint}")


def _as_declared(plan: Plan, secret: SecretPlan) -> Resolution:
    """Return a declaration as `ok`, unless no pipeline answers its key, or it breaks rules of its own."""
    from strongroom.registry.routing import Routes, no_default

    if plan.default is None and secret.key and Routes(plan.routes).matching(secret.key) is None:
        return Resolution(secret, "invalid", problem=str(no_default(plan, secret.key, tuple(plan.pipelines))))
    problem = _of_itself(secret)
    return Resolution(secret, "ok" if problem is None else "invalid", problem=problem)


def _of_itself(secret: SecretPlan) -> str | None:
    """Return how a default, or whatever would be generated, breaks the rules of its own declaration."""
    if secret.default is not None:
        broken = check_text(secret, secret.default)[1]
        if broken is not None:
            return f"the default cannot be used: {broken}"
    if secret.generate is not None:
        from strongroom.generators import generate_password

        samples = (check_text(secret, generate_password(**dict(secret.generate)))[1] for _ in range(_SAMPLES))
        broken = next(samples)
        if broken is not None and None not in samples:
            return f"what `generate` makes cannot be used: {broken}"
    return None


def _of_profiles(plan: Plan) -> Iterator[str]:
    """Yield what is wrong under each profile if none was chosen: other calls use them."""
    if plan.profile is not None or not plan.digest:
        return
    from strongroom.spec.loader import load_spec
    from strongroom.spec.source import read_source

    root = read_source(plan.source).document.root
    profiles = root.mapping.get("profiles") if root is not None else None
    for profile in profiles.mapping if profiles is not None else ():
        try:
            load_spec(plan.source, profile=profile)
        except SpecError as error:
            for problem in error.problems:
                yield f"under the profile {profile}: {problem}"
        except ConfigurationError as error:
            yield f"under the profile {profile}: {error.message}"


def _refused(resolutions: Mapping[str, Resolution]) -> dict[str, Resolution]:
    """Mark secrets whose names `run` and `export` refuse as invalid."""
    bad = "the name is refused: " + REFUSED
    return {
        name: one._replace(status="invalid", problem=bad) if is_dangerous(name) else one
        for name, one in resolutions.items()
    }


def _mark_rotating(
    registry: SecretProviderRegistry, resolutions: Mapping[str, Resolution]
) -> dict[str, Resolution]:
    """Return `resolutions` with the status `due` for good secrets whose rotation has begun and not ended."""
    rotated = {
        one.plan.key
        for one in resolutions.values()
        if one.status in {"ok", "due"} and (one.plan.rotate_days is not None or one.plan.rotate is not None)
    }
    if not rotated:
        return dict(resolutions)
    from strongroom.cli.declared.rotations import in_flight

    rotating = in_flight(registry, rotated)
    return {
        name: one._replace(status="due", problem=rotating[one.plan.key].state)
        if one.plan.key in rotating and one.status in {"ok", "due"}
        else one
        for name, one in resolutions.items()
    }


def _fixed(
    registry: SecretProviderRegistry, resolutions: Mapping[str, Resolution], elsewhere: Collection[str]
) -> dict[str, Resolution]:
    """Generate and store absent secrets that have `generate`, once for each key and member.

    Nothing is generated for names whose value is `elsewhere`: the application would get another value than
    the system that it logs in to.
    """
    fixed: dict[str, Resolution] = {}
    generated: dict[tuple[str, str | None], str] = {}
    for name, resolution in resolutions.items():
        fixed[name] = resolution
        # An optional secret that is absent is `ok`, and is generated, too. One that was deleted, destroyed or
        # disabled is not absent: it may be wanted back.
        absent = resolution.status in {"missing", "ok"} and resolution.text is None and not resolution.is_gone
        plan = resolution.plan
        if absent and name not in elsewhere and plan.generate is not None:
            place = (plan.key, plan.field)
            if place not in generated:
                try:
                    generated[place] = _generate(registry, plan)
                except AuditError:
                    raise
                except StrongroomError as error:  # the others can be made all the same
                    why = f"missing, and it cannot be made: {error.message}"
                    fixed[name] = resolution._replace(status="missing", problem=why)
                    continue
            value, problem = check_text(plan, generated[place])
            status: Status = "ok" if problem is None else "invalid"
            outcome = (
                "made and stored" if problem is None else f"the generated value breaks a rule: {problem}"
            )
            fixed[name] = resolution._replace(
                status=status, problem=outcome, text=generated[place], value=value
            )
    composed = {name: one.plan for name, one in resolutions.items() if one.plan.compose is not None}
    return fixed | resolve_all(registry, composed) if generated else fixed


def _generate(registry: SecretProviderRegistry, plan: SecretPlan) -> str:
    from strongroom.errors import ConflictError, UnsupportedOperationError
    from strongroom.generators import generate_password

    text = generate_password(**dict(plan.generate or {}))
    if check_text(plan, text)[1] is not None:
        return text  # reported as invalid, and not stored
    if plan.field is not None:
        from strongroom.cli.declared.members import add_member

        return add_member(registry, plan.key, plan.field, text)
    try:
        registry.set_secret_if(plan.key, text, None)  # two calls at once must not store two values
    except UnsupportedOperationError:
        registry.set_secret(plan.key, text)
    except ConflictError:
        return registry.get_secret(plan.key)
    return text


def _rows(found: Mapping[str, Resolution]) -> list[dict[str, Any]]:
    return [
        {"name": name, "key": one.plan.key or None, "status": one.status, "problem": one.problem}
        for name, one in found.items()
    ]


def _print(
    settings: GlobalOptions, resolutions: Mapping[str, Resolution], form: str, *, good: bool, offline: bool
) -> None:
    rows = _rows(resolutions)
    if form == "json":
        output.as_json({"ok": good, "secrets": rows})
    elif form == "junit":
        from strongroom.cli.formats.check_reports import junit

        output.raw(junit(rows))
    elif form == "sarif":
        from strongroom.cli.formats.check_reports import sarif

        output.as_json(sarif(rows, {name: one.plan.position for name, one in resolutions.items()}))
    elif not rows:
        own = settings.plan().origin == "own"
        if offline and not own:
            output.lines(["the spec is right"])
        else:
            settings.warn(nothing_declared(own=own))
    else:
        output.table(
            ["name", "key", "status", "problem"],
            ([row["name"], row["key"] or "(composed)", row["status"], row["problem"] or ""] for row in rows),
        )
