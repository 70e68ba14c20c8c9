"""The calls of hooks around an operation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextvars import Token

from strongroom.errors import AuditError
from strongroom.hooks import Outcome, SecretEvent, SecretHook
from strongroom.hooks.base import BatchHook
from strongroom.hooks.events import fill_in_event, finish_event
from strongroom.hooks.observation import Observation, observation
from strongroom.pipeline.operations import outcome_of
from strongroom.runtime.logs import logger

_log = logger("strongroom.hooks")
_observed, _stop_observing = observation.get, observation.reset


def leave_one(
    hook: BatchHook,
    events: Sequence[SecretEvent],
    seen: Observation,
    token: Token[Observation | None],
    started: float,
) -> None:
    """Do what `HookCalls.leave` does, after one operation that succeeded under one audit hook alone."""
    duration = time.perf_counter() - started
    _stop_observing(token)
    outer = _observed()
    if outer is not None and outer.asks_others:
        outer.source = seen.source
        outer.sources.update(seen.sources)
    event = events[0]
    source = seen.source_of(event.key) if event.operation == "get" else None
    fill_in_event(event, duration, "ok", source, None)
    try:
        hook.after_all(events)
    except AuditError:
        raise
    except Exception as failed:  # noqa: BLE001  # a third party's hook
        _warn(hook, event, failed)


def _warn(hook: SecretHook, event: SecretEvent, failed: Exception) -> None:
    # One hook's failure must not hide the result nor silence the other hooks.
    _log.warning("hook %s failed after %s: %s", type(hook).__name__, event.operation, type(failed).__name__)


class HookCalls:
    """The hooks around one operation, which may have an event for each of several keys."""

    __slots__ = ("entered", "events", "hooks", "kept", "seen", "started", "token", "vetoed")

    def __init__(self, hooks: tuple[SecretHook, ...], events: Sequence[SecretEvent]) -> None:
        self.hooks = hooks
        self.events = events
        self.entered: list[tuple[SecretHook, int]] = []  # with the place of its event; a batch hook has all
        self.vetoed = False
        self.kept = False  # whether a hook may have kept the events of `before`
        self.seen = Observation()
        self.token = observation.set(self.seen) if hooks else None
        self.started = time.perf_counter()

    def enter(self) -> None:
        try:
            for hook in self.hooks:
                # These come first, and see a batch as a whole before another hook can veto a part of it.
                if isinstance(hook, BatchHook):
                    self.entered.append((hook, 0))
                    hook.before_all(self.events)
            for at, event in enumerate(self.events):
                for hook in self.hooks:
                    if not isinstance(hook, BatchHook):
                        self.kept = True
                        self.entered.append((hook, at))
                        hook.before(event)
        except BaseException:
            self.vetoed = True
            raise

    def leave(self, outcomes: Mapping[str, Outcome], error: BaseException | None) -> None:
        """Call `after` for every `before` that was called, and raise what must not be lost of their errors.

        That is what is not an `Exception`, such as an interrupt: the audit hooks come last, and must be
        called all the same. Then an `AuditError`; all others are logged.
        """
        if self.token is not None:
            _stop_observing(self.token)
            outer = _observed()
            if outer is not None and outer.asks_others:
                outer.source = self.seen.source
                outer.sources.update(self.seen.sources)
        refused: AuditError | None = None
        interrupted: BaseException | None = None
        after = self._finished(outcomes, error)
        for hook, at in reversed(self.entered):
            try:
                if isinstance(hook, BatchHook):
                    hook.after_all(after)
                else:
                    hook.after(after[at])
            except AuditError as failed:
                refused = failed
            except Exception as failed:  # noqa: BLE001  # a third party's hook
                _warn(hook, after[at], failed)
            except BaseException as failed:  # noqa: BLE001  # such as Ctrl-C: it is raised at the end
                interrupted = failed
        if interrupted is not None:
            raise interrupted
        if refused is not None:
            raise refused

    def _finished(self, outcomes: Mapping[str, Outcome], error: BaseException | None) -> list[SecretEvent]:
        duration = time.perf_counter() - self.started
        finished = []
        for event in self.events:
            outcome = outcomes.get(event.key)
            failed = error if outcome is None else None  # else it concerns others of the batch
            if outcome is None:
                outcome = "vetoed" if self.vetoed else outcome_of(error) if error is not None else "ok"
            reads = event.operation == "get" and outcome in {"ok", "not_found"}
            source = self.seen.source_of(event.key) if reads else None
            error_type = type(failed).__name__ if failed is not None else None
            finished.append(finish_event(event, duration, outcome, source, error_type, copy=self.kept))
        return finished
