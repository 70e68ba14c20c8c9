"""Which spec applies: the one named, the environment's, the one found here, or that of the user's own store.

Importing this loads neither YAML nor pydantic: without a spec they are not needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from strongroom.errors import ConfigurationError
from strongroom.spec.found import FoundSpec, find_spec
from strongroom.spec.records import Recalled, SpecBytes, recall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from strongroom.spec.models import Spec
    from strongroom.spec.plan import Plan

__all__ = ["OWN_PIPELINE", "OWN_PROVIDER", "applicable", "embedded_plan", "find_plan", "own_store"]

OWN_PIPELINE: Final = "default"
OWN_PROVIDER: Final = "strongroom_file.provider:FileSecretProvider"


def find_plan(
    spec: str | os.PathLike[str] | Mapping[str, Any] | Spec | FoundSpec | Plan | None,
    *,
    profile: str | None = None,
    pipeline: str | None = None,
    look_up: bool = True,
    recalled: Recalled | None = None,
) -> Plan:
    """Return the plan of `spec`, or of the one that applies if none is given; a plan as it is.

    Args:
        spec: The spec.
        profile: The profile to merge over it.
        pipeline: The only pipeline that is used.
        look_up: Look up its references.
        recalled: The record of the spec that applies, if the caller has it.
    """
    from strongroom.spec.plan import Plan

    if isinstance(spec, Plan):
        return spec
    plan = _recalled_plan(recalled, look_up, pipeline)
    if plan is not None:
        return plan
    named, profile = applicable(spec, profile)
    if named is None:
        return embedded_plan(profile, pipeline)
    if isinstance(named, str | os.PathLike | FoundSpec):
        plan = _recalled_plan(recall(named, profile), look_up, pipeline)
        if plan is not None:
            return plan
    from strongroom.spec.loader import load_plan

    return load_plan(named, profile=profile, pipeline=pipeline, look_up=look_up)


def applicable(spec: Any, profile: str | None) -> tuple[Any, str | None]:
    """Return the spec and the profile that apply where these are given; no spec is the user's own store."""
    if spec is None:
        spec = os.environ.get("STRONGROOM_SPEC") or find_spec()
    return spec, profile if profile is not None else os.environ.get("STRONGROOM_PROFILE") or None


def _recalled_plan(recalled: Recalled | None, look_up: bool, pipeline: str | None) -> Plan | None:
    if recalled is None:
        return None
    from strongroom.spec.recalling import plan_of

    load = partial(_again, recalled.spec, recalled.profile)
    return plan_of(recalled, load, look_up=look_up, only=pipeline)


def _again(spec: SpecBytes, profile: str | None) -> Plan:
    """Return the plan of a remembered spec's bytes, from a full load.

    Raises:
        ConfigurationError: The spec has changed.
    """
    from strongroom.spec.loader import load_plan

    path = f"{spec.folder}/{spec.path.rpartition('/')[2]}"
    plan = load_plan(path if spec.found is None else FoundSpec(path), profile=profile, look_up=False)
    if plan.digest != spec.digest():
        raise ConfigurationError(
            f"the spec {spec.path} has changed since it was read", hint="make the registry again"
        )
    return plan


def own_store() -> tuple[str, str]:
    """Return the paths of the user's own embedded store and of its key.

    Raises:
        ConfigurationError: This user has no home folder.
    """
    try:
        data, configuration = _user_folders()
    except RuntimeError:
        raise ConfigurationError(
            "there is no spec, and this user has no home folder for a store",
            hint="give --spec (or STRONGROOM_SPEC), or set HOME",
        ) from None
    return f"{data}/secrets.enc", f"{configuration}/store.key"


def _user_folders() -> tuple[str, str]:
    home = os.environ.get("HOME", "")
    if sys.platform == "linux" and home.startswith("/") and not home.endswith("/"):
        folders = [os.environ.get(name, "") for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME")]
        if not any(folders):  # the same as `platformdirs` returns, whose import takes as long as a read
            return f"{home}/.local/share/strongroom", f"{home}/.config/strongroom"
    import platformdirs

    return platformdirs.user_data_dir("strongroom"), platformdirs.user_config_dir("strongroom")


def embedded_plan(profile: str | None = None, pipeline: str | None = None) -> Plan:
    """Return the plan of the user's own embedded store, which is made on the first write.

    Raises:
        ConfigurationError: A profile or another pipeline was asked for.
    """
    from pathlib import Path

    from strongroom.spec.plan import ComponentPlan, PipelinePlan, Plan, Position

    if profile is not None or pipeline not in {None, OWN_PIPELINE}:
        asked = f"profile {profile!r}" if profile is not None else f"pipeline {pipeline!r}"
        raise ConfigurationError(
            f"no {asked}: there is no spec", hint="run `strongroom init`, or give --spec"
        )
    store, key = map(Path, own_store())
    position = Position("your own store")
    provider = ComponentPlan(
        kind="provider",
        type="file",
        path="provider",
        position=position,
        factory=OWN_PROVIDER,
        options={"file_path": store, "key_file": key},
    )
    pipelines = {OWN_PIPELINE: PipelinePlan(OWN_PIPELINE, position, provider, None)}
    return Plan(
        source="your own store", base=str(Path.cwd()), pipelines=pipelines, default=OWN_PIPELINE, origin="own"
    )
