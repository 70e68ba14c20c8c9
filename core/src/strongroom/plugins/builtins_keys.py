"""Core's middleware that changes keys: a prefix for all of them, or one for each tenant."""

# Annotations are not kept as text here: pydantic would compile each by itself.

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from strongroom.plugins.descriptors import Plugin
from strongroom.plugins.hookspecs import hookimpl

__all__ = ["strongroom_middleware"]

_RESERVED = ".rotation"
_IS_RESERVED = "the segment '.rotation' is reserved"


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)


class PrefixConfig(_Config):
    """Options of the prefix middleware."""

    prefix: str = Field(
        min_length=1,
        max_length=511,
        description="Put before every key; it ends with a slash.",
        json_schema_extra={"pattern": r"(/|\})$"},  # a reference may bring the slash in
    )

    @field_validator("prefix")
    @classmethod
    def _ends_a_segment(cls, prefix: str) -> str:
        if not prefix.endswith("/"):
            message = "it does not end with '/'"
            raise ValueError(message)
        if not {"", ".", ".."}.isdisjoint(prefix[:-1].split("/")):
            message = "it has an empty, '.' or '..' segment, which no key may have"
            raise ValueError(message)
        if _RESERVED in prefix.split("/"):
            raise ValueError(_IS_RESERVED)
        return prefix


class TenantConfig(_Config):
    """Options of the tenant middleware."""

    template: str = Field(
        default="tenants/{tenant}/{key}",
        description="Where a tenant's secrets are: segments, of which one is {tenant} and the last is {key}.",
    )

    @field_validator("template")
    @classmethod
    def _is_template(cls, template: str) -> str:
        *before, last = template.split("/")
        others = [one for one in before if one != "{tenant}"]
        wrong = len(before) - len(others) != 1 or last != "{key}" or not {"", ".", ".."}.isdisjoint(others)
        if wrong or any("{" in one or "}" in one for one in others):
            placeholders = {"default": "tenants/{tenant}/{key}", "tenant": "{tenant}", "key": "{key}"}
            message = "expected segments of which one is {tenant} and the last {key}, as in {default}"
            raise PydanticCustomError("asked_for", message, placeholders)
        if _RESERVED in others:
            raise ValueError(_IS_RESERVED)
        return template


@hookimpl
def strongroom_middleware() -> Iterable[Plugin]:
    yield Plugin(
        name="prefix",
        summary="Puts a prefix before every key.",
        config=PrefixConfig,
        factory="strongroom.middleware.prefix:PrefixMiddleware",
    )
    yield Plugin(
        name="tenant",
        summary="Keeps each tenant's secrets under a prefix of its own.",
        config=TenantConfig,
        factory="strongroom.middleware.tenant:TenantMiddleware",
    )
