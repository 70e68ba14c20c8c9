"""The stores in which values of declared names were seen, so that a change of the spec loses none."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from strongroom.cache.addresses import sources_of, type_of
from strongroom.errors import (
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
    show_key,
)
from strongroom.runtime import digests
from strongroom.spec import remembered_names
from strongroom.spec.remembered_names import Sighting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom.cache.addresses import Source
    from strongroom.declarations.resolution import Resolution
    from strongroom.providers import SecretProvider
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["forget_sightings", "note_resolved", "note_sightings", "where_it_was_seen"]


def note_resolved(registry: SecretProviderRegistry, resolutions: Iterable[Resolution]) -> None:
    """Note in which store the values of these are; defaults are left out."""
    note_sightings(registry, [one.plan for one in resolutions if one.text is not None])


def note_sightings(registry: SecretProviderRegistry, secrets: Iterable[SecretPlan]) -> None:
    """Note in which store the values of declared secrets are.

    Args:
        registry: The registry that has the secrets.
        secrets: Composed ones, and those with a default, are left out.
    """
    sightings = {
        _of_this_tenant(one.name): _sightings(registry, one.key, one.field)
        for one in secrets
        if one.compose is None and one.default is None
    }
    if sightings:
        remembered_names.note_sightings(registry.plan.source, registry.plan.profile, sightings)


def forget_sightings(registry: SecretProviderRegistry, keys: Iterable[str]) -> None:
    """Forget where the values of the names with these `keys` were, because they were deleted."""
    plan, gone = registry.plan, set(keys)
    names = {_of_this_tenant(name): () for name, secret in plan.secrets.items() if secret.key in gone}
    if names:
        remembered_names.note_sightings(plan.source, plan.profile, names)


def where_it_was_seen(registry: SecretProviderRegistry, secret: SecretPlan) -> str | None:
    """Return, in words, where the value of a secret still is, or may be, if the spec leads elsewhere now.

    The places of other declared names do not count.

    Args:
        registry: Asked whether the value is there, if one of its pipelines still leads there.
        secret: A declared secret with no value at its key.
    """
    plan = registry.plan
    seen = remembered_names.sightings_of(plan.source, plan.profile, _of_this_tenant(secret.name))
    if not seen:
        return None
    taken = {
        (place.place, one.field)
        for one in plan.secrets.values()
        if one.compose is None
        for place in _sightings(registry, one.key, one.field)
    }
    for sighting in seen:
        if not taken.isdisjoint({(sighting.place, sighting.field), (sighting.place, None)}):
            continue
        if sighting.path is not None and not os.path.lexists(sighting.path):
            continue
        key, field = show_key(sighting.key), sighting.field
        where = f"at {key}" if field is None else f"in {field!r} of {key}"
        pipeline = _leading_to(registry, sighting)
        if pipeline is None:
            store = sighting.type if sighting.path is None else f"{sighting.type} {sighting.path}"
            return (
                f"was last seen {where} of pipeline {sighting.pipeline!r}, in a store ({store}) that the "
                "spec does not lead to any more: bring it over"
            )
        if _is_there(registry.pipeline(pipeline), sighting):
            from strongroom.cli.command_lines import command_line

            member = () if field is None else ("--field", field)
            words = ("get", "--key", sighting.key, *member)
            get = command_line(plan, *words, pipeline=pipeline).removesuffix("`")
            copies = f"{get} | {command_line(plan, 'set', '--key', secret.key).removeprefix('`')} copies it"
            return f"is still {where} of pipeline {pipeline!r}: {copies}"
    return None


def _is_there(pipeline: SecretProvider, sighting: Sighting) -> bool:
    try:
        value = pipeline.get_secret(sighting.key)
        if sighting.field is not None:
            from strongroom.declarations.json_fields import member_of

            member_of(value, sighting.key, sighting.field)
    except (SecretNotFoundError, ValidationError):  # gone, or another secret by now
        return False
    except PermissionDeniedError:  # it may still be there
        pass
    return True


def _leading_to(registry: SecretProviderRegistry, sighting: Sighting) -> str | None:
    """Return the pipeline that leads to where a value was seen; None if no usable one does."""
    for name in sorted(registry.pipelines(), key=lambda name: name != sighting.pipeline):
        try:
            sources = sources_of(registry.pipeline(name), sighting.key)
        except StrongroomError:
            continue
        if any(_place(one) == sighting.place for one in sources):
            return name
    return None


def _sightings(registry: SecretProviderRegistry, key: str, field: str | None) -> list[Sighting]:
    """Return the stores that `key` is read from, except those that end with this process."""
    ((pipeline, _, route),) = registry.answering(key, prefix=False)
    inside = key[len(route.prefix) :] if route is not None and route.strip_prefix else key
    return [
        Sighting(_place(source), pipeline.name, inside, kind, _path(source), field)
        for source in sources_of(pipeline, key)
        if (kind := type_of(source.place)) not in {None, "memory"}
    ]


def _place(source: Source) -> str:
    return digests.sha256(json.dumps(source).encode(errors="surrogatepass")).hexdigest()[:32]


def _path(source: Source) -> str | None:
    path = dict(json.loads(source.place)[2]).get("file_path")
    return path if isinstance(path, str) else None


def _of_this_tenant(name: str) -> str:
    from strongroom.tenancy import current_tenant

    tenant = current_tenant()
    return name if tenant is None else f"{tenant}/{name}"
