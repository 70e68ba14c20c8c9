"""Which spec applies: the one named, the environment's, the one found here, or that of the user's own store.

Importing this loads neither YAML nor pydantic: where there is no spec, nobody needs them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from strongroom.errors import ConfigurationError
from strongroom.paths.ownership import others_may_write

if TYPE_CHECKING:
    from strongroom.spec.models import Spec
    from strongroom.spec.plan import Plan

__all__ = ["SPEC_FILE", "FoundSpec", "embedded_plan", "find_plan", "find_spec"]

SPEC_FILE: Final = "strongroom.yaml"


class FoundSpec(NamedTuple):
    """A spec that nobody named, so that it is used only where it may be; see `strongroom.spec.trust`.

    Not a path: whoever took it for one would take it for a spec that somebody named.

    Attributes:
        path: `strongroom.yaml` in the current folder; above it, the whole path.
    """

    path: str


def find_spec() -> FoundSpec | None:
    """Return the `strongroom.yaml` of the current folder, or of the nearest one above that has one.

    The last folder that is looked at is one that holds `.git`, the home folder, or the last one of the file
    system. Above the current folder a spec is passed over where others may write its folder.
    """
    if os.path.lexists(SPEC_FILE):
        return FoundSpec(SPEC_FILE)
    try:
        folder = os.getcwd()
        status, home = os.stat(folder), _home()
        while not ((status.st_dev, status.st_ino) == home or os.path.lexists(f"{folder}/.git")):
            above = os.path.dirname(folder)
            beyond = os.stat(above)
            if above == folder or beyond.st_dev != status.st_dev:
                break
            folder, status = above, beyond
            path = os.path.join(folder, SPEC_FILE)
            if os.path.lexists(path) and not others_may_write(status):
                return FoundSpec(path)
    except OSError:  # the current folder is gone, or one above may not be looked at
        return None
    return None


def _home() -> tuple[int, int] | None:
    if os.environ.get("HOME") == "":  # it would be the root folder
        return None
    try:
        home = os.stat(os.path.expanduser("~"))
    except OSError:
        return None
    return home.st_dev, home.st_ino


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
