"""Reads a file of sops without sops, its values still encrypted, for versions and for checks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from strongroom_sops.tree import Path

__all__ = ["documents", "encrypted_members", "member_at"]


def encrypted_members(data: bytes, kind: str) -> Any:
    """Return the members of the file, their values encrypted."""
    if kind == "json":
        return json.loads(data)
    if kind == "yaml":
        import yaml

        # Scalars as they are: sops may have left 2020-13-45 unencrypted, which is a text to it.
        return yaml.load(data, getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506  # it makes no objects
    lines = (line.partition("=") for line in data.decode().splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in lines}


def documents(data: bytes) -> int:
    """Return the number of YAML documents."""
    if re.search(rb"^---", data, re.MULTILINE) is None:
        return 1
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return sum(isinstance(one, yaml.DocumentStartEvent) for one in yaml.parse(data, loader))


def member_at(root: Any, path: Path) -> Any:
    """Return the member at `path`; None if there is none."""
    for name in path:
        if isinstance(root, Mapping):
            root = {str(one): inside for one, inside in root.items()}.get(str(name))
        elif isinstance(root, list) and isinstance(name, int) and name < len(root):
            root = root[name]
        else:
            return None
    return root
