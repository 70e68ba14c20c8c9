"""Commands that live in distributions of their own."""

from __future__ import annotations

from typing import Any

from strongroom.errors import PluginError
from strongroom.plugins.allowed import allowed_distributions, is_shut_out
from strongroom.plugins.factories import describe_error, import_package

__all__ = ["command_of"]


def command_of(name: str, distribution: str) -> Any:
    """Return what runs the command `name`.

    The distribution is one of ours, so its module is known, and the metadata of all others need not be read.

    Args:
        name: Its name, and that of the function.
        distribution: The one of ours that has it; the error names it if it is missing.

    Raises:
        PluginError: It is not installed, not allowed, or broken.
    """
    allowed = allowed_distributions()
    module = distribution.replace("-", "_")
    why: Exception | None = None
    if allowed is None or distribution in allowed:
        try:
            return getattr(import_package(distribution), name)
        except (ImportError, AttributeError) as error:
            why = error
    if why is None or (isinstance(why, ModuleNotFoundError) and why.name == module):
        hint = f"install it: pip install {distribution}"
        if is_shut_out(distribution):
            hint = f"STRONGROOM_PLUGINS shuts it out: add {distribution} to it"
        elif allowed is not None:
            hint += ", and name it in STRONGROOM_PLUGINS"
        raise PluginError(f"`strongroom {name}` is in the distribution {distribution}", hint=hint)
    raise PluginError(
        f"`strongroom {name}` of {distribution} is broken: {describe_error(why)}",
        hint=f"reinstall or upgrade {distribution}",
    ) from why
