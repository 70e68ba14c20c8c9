"""`strongroom get`. Without click, which `commands/get.py` brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.cli import output

if TYPE_CHECKING:
    from strongroom.cli.context import Settings

__all__ = ["get"]


def get(settings: Settings, *, key: str, field: str | None = None, version: str | None = None) -> None:
    """Print the value of `key`, or of one member of it, in its current or an older version."""
    found = _quickly(settings, key) if version is None else None
    if found is None:
        from strongroom.cli.spec_cache import remember

        with settings.registry() as registry:
            value = registry.get_secret(key) if version is None else registry.get_secret_version(key, version)
            remember(settings, registry)
            found = value, registry.explain(key).pipeline if settings.json else ""
    value, pipeline = found
    if field is not None:
        from strongroom.declarations.json_fields import member_of

        value = member_of(value, key, field)
    if settings.json:
        output.as_json({"key": key, "value": value, "pipeline": pipeline})
    else:
        output.value(value)


def _quickly(settings: Settings, key: str) -> tuple[str, str] | None:
    """Return value and pipeline on the remembered way; of whatever goes wrong there, None."""
    from strongroom.cli.spec_cache import recall
    from strongroom.errors import StrongroomError
    from strongroom.keys import check_key, is_reserved

    try:
        remembered = recall(settings)
        if remembered is None or is_reserved(check_key(key)):
            return None
        settings.tell_spec(remembered.origin, remembered.source)
        with remembered:
            return remembered.get_secret(key), remembered.pipeline
    except StrongroomError:
        return None
