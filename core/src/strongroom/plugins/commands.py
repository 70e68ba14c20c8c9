"""Commands that live in distributions of their own."""

from __future__ import annotations

import importlib
from typing import Any

from strongroom.errors import PluginError
from strongroom.plugins.discovery import allowed_distributions
from strongroom.plugins.distributions import entry_points, normalized
from strongroom.plugins.factories import describe_error

__all__ = ["COMMAND_GROUP", "command_of"]

COMMAND_GROUP = "strongroom.commands"


def command_of(name: str, distribution: str) -> Any:
    """Return what runs the command `name`.

    Args:
        name: The entry point's name.
        distribution: The one of ours that has it, to be named where it is missing.

    Raises:
        PluginError: It is not installed, not allowed, or broken; or two distributions have it.
    """
    allowed = allowed_distributions()
    found = [
        one
        for one in entry_points(COMMAND_GROUP)[0]
        if one.name == name and (allowed is None or normalized(one.distribution) in allowed)
    ]
    if not found:
        hint = f"install it: pip install {distribution}"
        if allowed is not None:
            hint += ", and name it in STRONGROOM_PLUGINS"
        raise PluginError(f"`strongroom {name}` is in the distribution {distribution}", hint=hint)
    if len(found) > 1:
        owners = ", ".join(sorted(f"{one.distribution} {one.version}" for one in found))
        raise PluginError(f"`strongroom {name}` is provided by {owners}", hint="set STRONGROOM_PLUGINS")
    module, _, attribute = found[0].module.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginError(
            f"`strongroom {name}` of {found[0].distribution} is broken: {describe_error(error)}",
            hint=f"reinstall or upgrade {found[0].distribution}",
        ) from error
