"""The tenant on whose behalf the code at hand runs, kept in a context variable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import Context
from types import FrameType, TracebackType
from typing import Any, Self

from strongroom.errors import InvalidTenantError, show_key
from strongroom.runtime.scopes import Block, OpenBlocks, copied_context

__all__ = ["TenantContext", "check_tenant_id", "context_of", "current_tenant", "open_tenants"]

_IN_TENANT_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_LONGEST_TENANT_ID = 64
_blocks: OpenBlocks[str] = OpenBlocks("strongroom_tenant")
open_tenants = _blocks.open
# CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR; `inspect` is slow to import.
_SUSPENDABLE = 0x20 | 0x80 | 0x200


def current_tenant() -> str | None:
    """Return the id of the active tenant, or None: that of the innermost open block of this context."""
    try:  # `_blocks.innermost()`, written out: caches ask at every read
        return open_tenants.get()[0].value
    except AttributeError:
        return _blocks.after_ends_elsewhere()


def context_of(tenant: str | None) -> Context:
    """Return a copy of this context for work of `tenant` on another thread, wherever its block ends."""
    context = copied_context()
    if context.run(current_tenant) != tenant:  # the block has ended in between
        context.run(_blocks.hold, tenant)
    return context


def check_tenant_id(tenant_id: str) -> str:
    """Return `tenant_id`, or raise `InvalidTenantError` unless it is 1-64 of `[A-Za-z0-9_-]`."""
    valid = isinstance(tenant_id, str) and 1 <= len(tenant_id) <= _LONGEST_TENANT_ID
    if not valid or not _IN_TENANT_ID.issuperset(tenant_id):
        raise InvalidTenantError(
            f"invalid tenant id {show_key(tenant_id)}", hint="use 1-64 of A-Z, a-z, 0-9, '_' and '-'"
        )
    return tenant_id


class TenantContext:
    """Makes a tenant the active one for a `with` or `async with` block.

    Blocks nest, and may end in any order and place, such as in a generator that another task or thread closes
    late. One object may be entered again, and from several threads and tasks at once.

    Raises:
        InvalidTenantError: `tenant_id` breaks the rules.
    """

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = check_tenant_id(tenant_id)
        # Each open block, with the frame of its `with` if that frame can be suspended.
        self._frames: dict[Block[str | None], FrameType | None] = {}

    def __enter__(self) -> Self:
        self._enter(sys._getframe(1))  # noqa: SLF001  # CPython's documented way to the caller
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending: list[Block[str | None]] = []
        try:
            self._leave(sys._getframe(1), ending)  # noqa: SLF001  # as above
        except BaseException:
            self._leave_after_all(sys._getframe(1), ending)  # noqa: SLF001  # as above
            raise

    async def __aenter__(self) -> Self:
        self._enter(sys._getframe(1))  # noqa: SLF001  # as above
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending: list[Block[str | None]] = []
        try:
            self._leave(sys._getframe(1), ending)  # noqa: SLF001  # as above
        except BaseException:
            self._leave_after_all(sys._getframe(1), ending)  # noqa: SLF001  # as above
            raise

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_frames"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _frames={})

    def __repr__(self) -> str:
        return f"TenantContext(tenant_id={self.tenant_id!r})"

    def _enter(self, caller: FrameType) -> None:
        self._frames[_blocks.enter(self.tenant_id)] = _if_suspendable(caller)

    def _leave(self, caller: FrameType, ending: list[Block[str | None]]) -> None:
        """End a block, and put each that is tried into `ending`, for `_leave_after_all`.

        Raises:
            RuntimeError: None is open.
        """
        only = tuple(self._frames)
        for block in only if len(only) == 1 else self._most_likely_first(_if_suspendable(caller)):
            ending.append(block)
            if self._frames.pop(block, self) is not self:  # no other thread took it meanwhile
                _blocks.leave(block)
                return
        raise RuntimeError(f"{self!r} was exited more often than it was entered")

    def _leave_after_all(self, caller: FrameType, ending: list[Block[str | None]]) -> None:
        """End the block that a signal handler has kept `_leave` from ending, by what it raised."""
        for block in ending[-1:] or [*self._most_likely_first(_if_suspendable(caller))][:1]:
            self._frames.pop(block, None)
            _blocks.leave(block)

    def _most_likely_first(self, frame: FrameType | None) -> Iterator[Block[str | None]]:
        """Yield the open blocks of this object; `__exit__` does not learn which one of several ends."""
        frames = self._frames.copy()
        latest = list(reversed(frames))
        if frame is not None:
            yield from [block for block in latest if frames[block] is frame]
        here = [block for block in open_tenants.get() if block in frames]
        yield from [block for block in here if frames[block] is None]
        yield from here
        yield from latest


def _if_suspendable(frame: FrameType) -> FrameType | None:
    """Return the frame of a generator or coroutine; that of a function ends before those that called it."""
    return frame if frame.f_code.co_flags & _SUSPENDABLE else None
