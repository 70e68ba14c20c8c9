"""The tenant on whose behalf the code at hand runs, kept in a context variable."""

from __future__ import annotations

import re
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

from strongroom.errors import InvalidTenantError, show_key

__all__ = ["TenantContext", "check_tenant_id", "current_tenant"]

_TENANT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_tenant: ContextVar[str | None] = ContextVar("strongroom_tenant", default=None)
# What each block puts back is itself kept in the context, so that every thread and task has its own stack.
# One variable for all objects: a context never lets go of a variable that was once set in it.
_entered: ContextVar[tuple[tuple[TenantContext, Token[str | None]], ...]] = ContextVar(
    "strongroom_entered", default=()
)


def current_tenant() -> str | None:
    """Return the id of the active tenant, or None."""
    return _tenant.get()


def check_tenant_id(tenant_id: str) -> str:
    """Return `tenant_id`, or raise `InvalidTenantError` unless it is 1-64 of `[A-Za-z0-9_-]`."""
    if not isinstance(tenant_id, str) or not _TENANT_ID.fullmatch(tenant_id):
        raise InvalidTenantError(
            f"invalid tenant id {show_key(tenant_id)}", hint="use 1-64 of A-Z, a-z, 0-9, '_' and '-'"
        )
    return tenant_id


class TenantContext:
    """Makes a tenant the active one for a `with` or `async with` block.

    Blocks nest; one object may be entered again, and from several threads and tasks at once.

    Raises:
        InvalidTenantError: `tenant_id` breaks the rules.
    """

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = check_tenant_id(tenant_id)

    def __enter__(self) -> Self:
        _entered.set((*_entered.get(), (self, _tenant.set(self.tenant_id))))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered = _entered.get()
        at = max(index for index, (one, _) in enumerate(entered) if one is self)
        _entered.set(entered[:at] + entered[at + 1 :])
        _tenant.reset(entered[at][1])

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"TenantContext(tenant_id={self.tenant_id!r})"
