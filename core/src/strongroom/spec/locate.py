"""Which spec applies: the one named, the environment's, the one found here, or that of the user's own store.

Importing this loads neither YAML nor pydantic: where there is no spec, nobody needs them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from strongroom.errors import ConfigurationError
from strongroom.spec.found import FoundSpec, find_spec

if TYPE_CHECKING:
    from strongroom.spec.models import Spec
    from strongroom.spec.plan import Plan

__all__ = ["embedded_plan", "find_plan"]


def find_plan(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | FoundSpec | None,
    *,
    profile: str | None = None,
    pipeline: str | None = None,
    look_up: bool = True,
) -> Plan:
    """Return the plan of `spec`, or of the one that applies where none is given."""
    if spec is None and os.environ.get("STRONGROOM_SPEC"):
        from strongroom.settings import read_settings

        spec = read_settings().spec
    if profile is None and "STRONGROOM_PROFILE" in os.environ:
        from strongroom.settings import read_settings

        profile = read_settings().profile or None
    if spec is None:
        spec = find_spec()
    if spec is None:
        return embedded_plan(profile, pipeline)
    from strongroom.spec.loader import load_plan

    return load_plan(spec, profile=profile, pipeline=pipeline, look_up=look_up)


def embedded_plan(profile: str | None = None, pipeline: str | None = None) -> Plan:
    """Return the plan of the user's own embedded store, which is made on the first write."""
    from pathlib import Path

    import platformdirs

    from strongroom.spec.plan import ComponentPlan, PipelinePlan, Plan, Position

    if profile is not None or pipeline not in {None, "default"}:
        asked = f"profile {profile!r}" if profile is not None else f"pipeline {pipeline!r}"
        raise ConfigurationError(
            f"no {asked}: there is no spec", hint="run `strongroom init`, or give --spec"
        )
    try:
        store = Path(platformdirs.user_data_dir("strongroom")) / "secrets.enc"
        key = Path(platformdirs.user_config_dir("strongroom")) / "store.key"
    except RuntimeError:
        raise ConfigurationError(
            "there is no spec, and this user has no home folder to have a store of its own in",
            hint="give --spec (or STRONGROOM_SPEC), or set HOME",
        ) from None
    position = Position("your own store")
    provider = ComponentPlan(
        kind="provider",
        type="file",
        path="provider",
        position=position,
        factory="strongroom_file.provider:FileSecretProvider",
        options={"file_path": store, "key_file": key},
    )
    pipelines = {"default": PipelinePlan("default", position, provider, None)}
    return Plan(
        source="your own store", folder=Path.cwd(), pipelines=pipelines, default="default", origin="own"
    )
