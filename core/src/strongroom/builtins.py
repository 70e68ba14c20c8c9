"""The components that core brings itself, through the same doors as everybody's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from strongroom.hookspecs import hookimpl
from strongroom.plugins import Plugin

__all__ = ["strongroom_middleware"]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class PrefixConfig(_Config):
    """Options of the prefix middleware."""

    prefix: str = Field(min_length=1, max_length=511, description="Put before every key.")


class ReadOnlyConfig(_Config):
    """The read-only middleware has no options."""


class RetryConfig(_Config):
    """Options of the retry middleware."""

    attempts: int = Field(default=3, ge=1, le=100, description="Calls in all, the first one included.")
    base_seconds: float = Field(
        default=0.1, ge=0, description="The upper bound of the first wait; it doubles."
    )
    max_seconds: float = Field(default=5.0, ge=0, description="The upper bound of every wait.")
    deadline_seconds: float = Field(
        default=30.0, ge=0, description="No attempt begins later than this after the first one."
    )


class ValidationConfig(_Config):
    """Options of the validation middleware."""

    key_pattern: str | None = Field(
        default=None, description="A regular expression that the whole key must match."
    )
    min_length: int | None = Field(default=None, ge=0, description="Characters that a value has at least.")
    max_length: int | None = Field(default=None, ge=0, description="Characters that a value has at most.")
    forbid: list[str] = Field(default=[], description="Values refused, compared without case.")
    json_schema: dict[str, Any] | None = Field(
        default=None, description="A JSON Schema that accepts the value, which must be JSON text."
    )


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    yield Plugin(
        name="prefix",
        summary="Puts a prefix before every key.",
        config=PrefixConfig,
        factory="strongroom.middleware.prefix:PrefixMiddleware",
    )
    yield Plugin(
        name="read-only",
        summary="Refuses every write.",
        config=ReadOnlyConfig,
        factory="strongroom.middleware.read_only:ReadOnlyMiddleware",
    )
    yield Plugin(
        name="retry",
        summary="Asks again where the backend is unavailable or throttles.",
        config=RetryConfig,
        factory="strongroom.middleware.retry:RetryMiddleware",
    )
    yield Plugin(
        name="validation",
        summary="Refuses keys and values that break the rules given.",
        config=ValidationConfig,
        factory="strongroom.middleware.validation:ValidationMiddleware",
    )
