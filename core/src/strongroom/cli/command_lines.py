"""Command lines that messages suggest."""

from __future__ import annotations

import os
from shlex import join
from typing import TYPE_CHECKING

from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan

__all__ = ["command_line", "line_about"]


def command_line(plan: Plan, *words: str, pipeline: str | None = None) -> str:
    """Return the line to type for the command `words` about the same spec, profile and tenant.

    Without these options it would use others, and might change them. What is set in the environment applies
    to the next command, too.

    Args:
        plan: The plan of this command.
        words: The command and its arguments.
        pipeline: The pipeline to name.
    """
    values = {"--pipeline": pipeline, "--tenant": current_tenant()}
    if plan.origin == "named" and plan.digest and not os.environ.get("STRONGROOM_SPEC"):
        values["--spec"] = plan.source
    if plan.profile is not None and plan.profile != os.environ.get("STRONGROOM_PROFILE"):
        values["--profile"] = plan.profile
    options = [word for name, value in values.items() if value is not None for word in (name, value)]
    return f"`{join(['strongroom', *options, *words])}`"


def line_about(registry: SecretProviderRegistry, key: str, *words: str) -> str:
    """Return the line to type for the command `words`, which is to ask the same pipeline for `key`."""
    plan, how = registry.plan, registry.explain(key)
    chosen = how.route is None and (
        how.pipeline != plan.default or any(key.startswith(one.prefix) for one in plan.routes)
    )
    return command_line(plan, *words, pipeline=how.pipeline if chosen else None)
