"""Checks on request whether the pipelines answer, at most every few seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from strongroom.errors import PermissionDeniedError, StrongroomError
from strongroom.providers import innermost

from strongroom_serve.asking import Backend

__all__ = ["Health", "State"]

_FRESH_SECONDS = 10.0
_PATIENCE_SECONDS = 5.0


class State:
    """For each pipeline, why it does not answer, or refuses to; None if it does."""

    __slots__ = ("pipelines",)

    def __init__(self, pipelines: dict[str, str | None]) -> None:
        self.pipelines = pipelines

    @property
    def ok(self) -> bool:
        """Whether all of them answer."""
        return not any(self.pipelines.values())


class Health:
    """Looks at every pipeline's backend, past its hooks, and whether its audit trail could be written.

    Nothing is recorded: no client asked for it.
    """

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._clock = clock
        self._found: tuple[float, State] | None = None
        self._looking: asyncio.Task[State] | None = None
        self._looks: dict[str, asyncio.Future[str | None]] = {}

    async def state(self) -> State:
        """Return a state a few seconds old at most; callers that ask meanwhile wait for the same one."""
        if self._found is not None and self._clock() - self._found[0] < _FRESH_SECONDS:
            return self._found[1]
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._looking)

    async def _look(self) -> State:
        names = self._backend.sync.pipelines()
        problems = await asyncio.gather(*(self._problem(name) for name in names))
        state = State(dict(zip(names, problems, strict=True)))
        self._found = (self._clock(), state)
        return state

    async def _problem(self, name: str) -> str | None:
        look = self._looks.get(name)
        # One that hangs is not joined by others, which would take all threads.
        if look is None or look.done():
            asked = self._backend.in_thread(
                lambda: _asked(self._backend.sync, name), self._backend.threads_of(name)
            )
            look = self._looks[name] = asyncio.ensure_future(asked)
        done, _ = await asyncio.wait({look}, timeout=_PATIENCE_SECONDS)
        return look.result() if done else f"no answer within {_PATIENCE_SECONDS:.0f} s"


def _asked(registry: Any, name: str) -> str | None:
    """Return why a pipeline does not answer; None if it does."""
    try:
        pipeline = registry.pipeline(name)
        pipeline.diagnose_hooks()
        provider = innermost(pipeline)
        look = getattr(provider, "diagnose", None)
        if callable(look):
            look()
        else:
            provider.list_secrets()
    except PermissionDeniedError:
        return None  # it knows the caller and answers: those who only read by name need no more
    except StrongroomError as error:
        return f"{type(error).__name__}: {error.message}"
    except BaseException as error:  # noqa: BLE001  # a third party's provider; its text could hold a value
        return type(error).__name__
    return None
