"""The YAML spec: loading, validation and its JSON Schema."""

from __future__ import annotations

from strongroom._lazy import lazy_exports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from strongroom.spec.loader import load_plan, load_spec
    from strongroom.spec.models import Spec
    from strongroom.spec.schema import json_schema

__all__ = ["Spec", "json_schema", "load_plan", "load_spec"]

# yaml and pydantic are loaded when a spec is read, not when strongroom is imported.
_HOMES = {"Spec": "models", "json_schema": "schema", "load_plan": "loader", "load_spec": "loader"}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
