"""`strongroom get`, without click; `commands/get.py` has the options."""

from __future__ import annotations

from strongroom.cli import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom.cli.context import GlobalOptions
    from strongroom.registry import SecretProviderRegistry

__all__ = ["get", "get_several"]


def get(
    settings: GlobalOptions,
    *,
    key: str,
    field: str | None = None,
    version: str | None = None,
    as_key: bool = False,
) -> None:
    """Print the value of `key`, or of one member of it, in its current or an older version.

    With `as_key` it is a key, and never a declared name.
    """
    result = _from_spec_cache(settings, key, as_key=as_key) if version is None else None
    if result is None:
        from strongroom.cli.spec_cache import without_caches

        with settings.registry(change=without_caches) as registry:
            result = _from_registry(settings, registry, key, version, as_key=as_key)
            _check_tenant(settings, registry, result[0])
            settings.warn_of_leases(registry)
    key, value, pipeline = result
    if field is not None:
        from strongroom.declarations.json_fields import member_of

        value = member_of(value, key, field)
    if settings.json:
        output.as_json({"key": key, "value": value, "pipeline": pipeline})
    else:
        output.value(value)


def _from_spec_cache(settings: GlobalOptions, key: str, *, as_key: bool) -> tuple[str, str, str] | None:
    """Return key, value and pipeline by the remembered spec; None if anything goes wrong there."""
    from strongroom.cli.spec_cache import recall
    from strongroom.errors import SecretNotFoundError, StrongroomError
    from strongroom.keys import check_key, is_reserved

    try:
        remembered = recall(settings)
        if remembered is None or is_reserved(check_key(key)):
            return None
        settings.tell_spec(remembered.origin, remembered.source)
        with remembered:
            try:
                return key, remembered.get_secret(key), remembered.pipeline
            except SecretNotFoundError:
                from strongroom.cli.declared.names import read

                return *read(remembered, key, as_key=as_key), remembered.pipeline
    except StrongroomError:
        return None


def _from_registry(
    settings: GlobalOptions, registry: SecretProviderRegistry, text: str, version: str | None, *, as_key: bool
) -> tuple[str, str, str]:
    from strongroom.errors import SecretNotFoundError
    from strongroom.pipeline import check_user_key

    check_user_key(text)  # before hooks see it
    try:
        if version is None and (as_key or text not in registry.plan.secrets):
            key, value = text, registry.get_secret(text)
        elif version is None:
            from strongroom.cli.declared import names

            key, value = names.read(registry, text)
        else:
            from strongroom.cli.declared import names

            key, declared = names.target(registry, text, as_key=as_key, doing="read")
            value = registry.get_secret_version(key, version)
            if declared is not None and declared.field is not None:
                from strongroom.declarations.json_fields import member_of

                value = member_of(value, key, declared.field)
    except SecretNotFoundError as error:
        if version is not None and error.hint is None:  # most likely the key exists, but not this version
            error.hint = "`strongroom history` lists the versions of a key"
        from strongroom.cli.declared import names

        missing = names.with_nearest(registry, error)
    else:
        return key, value, registry.explain(key).pipeline if settings.json else ""
    raise missing


def _check_tenant(settings: GlobalOptions, registry: SecretProviderRegistry, *keys: str) -> None:
    """Refuse a tenant that none of `keys` has to do with; the parts of a composed secret may have."""
    declared = registry.plan.secrets
    if not any(key in declared and declared[key].compose is not None for key in keys):
        settings.check_tenant(registry, *keys)


def get_several(settings: GlobalOptions, texts: Sequence[str], *, as_key: bool) -> None:
    """Print the values of all `texts`, or nothing if one is missing.

    Raises:
        SecretNotFoundError: One is missing.
    """
    from strongroom.cli.child.environment import refuse_dangerous, refuse_undeclared
    from strongroom.cli.formats.export import as_env, variables
    from strongroom.cli.spec_cache import without_caches
    from strongroom.errors import SecretNotFoundError, show_key

    results: dict[str, tuple[str, str, str]] = {}
    missing: list[SecretNotFoundError] = []
    with settings.registry(change=without_caches) as registry:
        declared = set() if as_key else {*registry.plan.secrets}
        for text in dict.fromkeys(texts):
            try:
                results[text] = _from_registry(settings, registry, text, None, as_key=as_key)
            except SecretNotFoundError as error:
                missing.append(error)
        if not missing:
            _check_tenant(settings, registry, *(key for key, _, _ in results.values()))
            settings.warn_of_leases(registry)
    if len(missing) == 1:
        raise missing[0]
    if missing:
        keys = ", ".join(show_key(one.key) for one in missing)
        raise SecretNotFoundError(missing[0].key or "", f"{len(missing)} secrets not found: {keys}")
    if settings.json:
        rows = [
            {"key": key, "value": value, "pipeline": pipeline} for key, value, pipeline in results.values()
        ]
        output.as_json({"secrets": rows})
    else:
        values = {text: value for text, (_, value, _) in results.items()}
        named = variables(values, declared)
        refuse_dangerous(named)
        refuse_undeclared(named.keys() - declared)
        output.raw(as_env(named).encode())
