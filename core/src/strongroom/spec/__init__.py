"""The YAML spec: loading, validation and its JSON Schema."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.spec.loading import load_plan, load_spec
    from strongroom.spec.models import Spec
    from strongroom.spec.schema import json_schema

__all__ = ["Spec", "json_schema", "load_plan", "load_spec"]

_HOMES = {"Spec": "models", "json_schema": "schema", "load_plan": "loading", "load_spec": "loading"}


def __getattr__(name: str) -> Any:
    # yaml and pydantic are loaded by whoever reads a spec, not by whoever imports strongroom.
    if name not in _HOMES:
        message = f"module 'strongroom.spec' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"strongroom.spec.{_HOMES[name]}"), name)
