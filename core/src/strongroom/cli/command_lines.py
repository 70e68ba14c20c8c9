"""Command lines that messages suggest."""

from __future__ import annotations

import os
from shlex import join
from typing import TYPE_CHECKING

from strongroom.tenancy import current_tenant

if TYPE_CHECKING:
    from strongroom.spec.plan import Plan

__all__ = ["command_line"]


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
