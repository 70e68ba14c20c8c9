"""The hook that records every operation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from strongroom.audit.file_sink import FileSink
from strongroom.audit.key_source import KeySource
from strongroom.audit.reason import current_reason
from strongroom.audit.serialization import process_identity, serialize_event, unchained_lines
from strongroom.errors import AuditError, ConfigurationError, PermissionDeniedError, show_key
from strongroom.hooks import SecretEvent
from strongroom.hooks.base import BatchHook
from strongroom.hooks.identity import system_user
from strongroom.parallel import renew_after_fork
from strongroom.runtime.logs import logger
from strongroom.runtime.pickling import ProcessBound

if TYPE_CHECKING:
    import logging

    from strongroom.audit.logger_sink import LoggerSink

__all__ = ["READS", "AuditLoggingHook"]

READS = frozenset({"get", "list", "describe", "history", "watch", "change"})
_ALWAYS = frozenset({"backup", "restore", "rekey"})
"""Operations on the whole store are recorded even if writes are not."""
_HARMLESS = frozenset({"ok", "not_found"})
_CHAIN_BYTES = 256
"""What the chain and the members that are null before an operation add to a line."""
_SHOWN_KEYS = 3
_log = logger("strongroom.hooks")
StrPath = str | os.PathLike[str]


class AuditLoggingHook(ProcessBound, BatchHook):
    """Records who did what to which secret, with which outcome; never a value.

    Without `path`, each operation is a line of JSON to the logger `strongroom.audit` at INFO. With it, each
    is a line of a file whose chain of MACs reveals changes; see `strongroom.verify_audit_log`.

    Args:
        log_reads: Record reads that succeeded or found nothing; refused ones are recorded in any case.
        log_writes: Record writes that succeeded or found nothing; refused ones as above.
        path: The log, or several that are all written to, each with its own chain.
        key: The key of the chain; without it, that of `key_file`, then of the variable STRONGROOM_AUDIT_KEY,
            then `<path>.key`, which is made at the first use.
        logger: A logger or its name; with `path` lines go to both.
        fail_closed: Refuse an operation that cannot be recorded; otherwise warn and go on.
        reason: Why this program reads secrets, if the caller gives no other reason.
        key_file: The file that holds the key.
        fsync: Return only when the line is on the disk; threads that wait share one call.
        intents: Add a line ahead of each write, with an outcome of null.
        require_reason: Refuse operations without a reason: `strongroom.audit.because`, `reason`, or the
            variable STRONGROOM_REASON.
        require: With several logs, or a logger as well: whether `all` or at least `one` must take a line.
        timeout: Seconds to wait for other writers of a log.

    Raises:
        ConfigurationError: The key is malformed, or the list of paths is empty.
    """

    takes_text_paths: ClassVar[bool] = True
    """See `strongroom.plugins.factories`."""

    def __init__(
        self,
        log_reads: bool = True,
        log_writes: bool = True,
        *,
        path: StrPath | Sequence[StrPath] | None = None,
        key: str | bytes | None = None,
        logger: logging.Logger | str | None = None,
        fail_closed: bool = True,
        reason: str | None = None,
        key_file: StrPath | None = None,
        fsync: bool = False,
        intents: bool = False,
        require_reason: bool = False,
        require: Literal["all", "one"] = "all",
        timeout: float = 10.0,
    ) -> None:
        self._log_reads, self._log_writes = log_reads, log_writes
        self._logs_all = log_reads and log_writes
        self._fail_closed, self._intents = fail_closed, intents
        self._reason, self._require_reason = reason, require_reason
        self._one_is_enough = require == "one"
        keys = KeySource(key, key_file)
        self._files = [FileSink(one, keys, fsync=fsync, timeout=timeout) for one in _paths(path)]
        self._channel: LoggerSink | None = None
        if logger is not None or not self._files:
            from strongroom.audit.logger_sink import LOGGER, LoggerSink

            self._channel = LoggerSink(logger if logger is not None else LOGGER)
        is_usual = fail_closed and self._channel is None and len(self._files) == 1
        self._only_file = self._files[0] if is_usual else None
        """The one log that must take every line, on the short way of the usual case."""
        self._who, self._own_reason, self._user = "", reason, ""
        renew_after_fork(self, AuditLoggingHook._after_fork)
        self.failures = 0
        """How often an operation, or the events of a batch, could not be recorded, or `diagnose` found that
        none could; in this process."""

    def before_all(self, events: Sequence[SecretEvent]) -> None:
        """Refuse an operation without a reason, and make sure that a write can be recorded."""
        if not events:  # a batch of no keys does nothing
            return
        if self._require_reason:
            self._demand_reason(events[0].key)
        if not self._log_writes or events[0].operation in READS:
            return
        if self._intents:
            self._record(events)
        elif self._files:
            size = sum(map(len, self._texts(events))) + _CHAIN_BYTES * len(events)
            self._try([_checking(file, size) for file in self._files], others=self._channel is not None)

    def after_all(self, events: Sequence[SecretEvent]) -> None:
        """Record how they ended, in one write."""
        chosen = events
        if not self._logs_all:
            chosen = [event for event in events if self._is_wanted(event)]
        if not chosen:
            return
        failure: AuditError
        try:
            if self._only_file is not None:
                self._only_file.append(self._texts(chosen))
            else:
                self.failures += not self._record(chosen)
        except AuditError as error:
            self.failures += 1
            failure = error
        except Exception as error:
            self.failures += 1
            if not self._fail_closed:
                raise  # the pipeline logs it
            failure = _failed(error)
        else:
            return
        done = [event for event in chosen if event.outcome == "ok" and event.operation not in READS]
        if done:
            what = ", ".join(show_key(event.key) for event in done[:_SHOWN_KEYS] if event.key)
            more = "…" if len(done) > _SHOWN_KEYS else ""
            of = f" of {what}{more}" if what else ""
            failure.message = (
                f"the {done[0].operation}{of} took effect, but it is not recorded: {failure.message}"
            )
        failure.key, failure.pipeline = chosen[0].key, chosen[0].pipeline
        raise failure

    def diagnose(self) -> None:
        """See whether operations could be recorded now; nothing is added to a log.

        Raises:
            AuditError: They could not, and would be refused. It counts among `failures`.
        """
        if not self._fail_closed:
            return
        failures: list[AuditError] = []
        for file in self._files:
            try:
                file.check(_CHAIN_BYTES)
            except AuditError as error:
                failures.append(error)
        enough = self._one_is_enough and (self._channel is not None or len(failures) < len(self._files))
        if failures and not enough:
            self.failures += 1
            raise failures[0]

    def close(self) -> None:
        """Close the logs; another use opens them again."""
        for file in self._files:
            file.close()

    @property
    def paths(self) -> list[str]:
        """The logs, whole paths."""
        return [file.path for file in self._files]

    def __repr__(self) -> str:
        return f"<AuditLoggingHook to {', '.join(self.paths) or self._channel!r}>"

    def _is_wanted(self, event: SecretEvent) -> bool:
        logged = self._log_reads if event.operation in READS else self._log_writes
        return logged or event.operation in _ALWAYS or event.outcome not in _HARMLESS

    def _demand_reason(self, key: str) -> None:
        if self._user is not system_user():
            self._look_up()
        if not (current_reason() or self._own_reason):
            raise PermissionDeniedError(
                "a reason is required here",
                key=key,
                hint="give --reason TEXT, set STRONGROOM_REASON, or use `with strongroom.audit.because(…)`",
            )

    def _texts(self, events: Sequence[SecretEvent]) -> list[str]:
        # The user's name is one object each time: an actor that is the same shows that it has not changed.
        if events[0].actor is not self._user and self._user is not system_user():
            self._look_up()
        reason = current_reason() or self._own_reason
        if len(events) == 1:
            return [serialize_event(events[0], self._who, reason)]
        batch = events[0].id if events else None
        return [serialize_event(event, self._who, reason, batch) for event in events]

    def _look_up(self) -> None:
        """Look up what does not change while a process lives and has the same user."""
        user = system_user()
        self._own_reason = self._reason or os.environ.get("STRONGROOM_REASON") or None
        self._who = process_identity()
        self._user = user

    def _after_fork(self) -> None:
        self._user = ""

    def _record(self, events: Sequence[SecretEvent]) -> bool:
        """Record `events`; return whether every sink took them."""
        texts = self._texts(events)
        chained: list[str] = []

        def writing(file: FileSink) -> Callable[[], None]:
            def write() -> None:
                lines = file.append(texts)
                if not chained:  # the logger gets the lines as the first log has them, MACs included
                    chained.extend(line.decode("ascii").rstrip("\n") for line in lines)

            return write

        channel = self._channel
        attempts = [writing(file) for file in self._files]
        if channel is not None:
            attempts.append(lambda: channel.append(chained or unchained_lines(texts)))
        return self._try(attempts)

    def _try(self, attempts: Sequence[Callable[[], None]], *, others: bool = False) -> bool:
        """Make all `attempts` and return whether all succeeded; raise if too few did."""
        failures: list[AuditError] = []
        for attempt in attempts:
            try:
                attempt()
            except AuditError as error:
                failures.append(error)
            except Exception as error:  # noqa: BLE001  # a handler of logging may raise anything
                failures.append(AuditError(f"an audit sink failed with {type(error).__name__}"))
        enough = self._one_is_enough and (others or len(failures) < len(attempts))
        if failures and self._fail_closed and not enough:
            raise failures[0]
        for failure in failures:
            _log.warning("not recorded: %s", failure)
        return not failures


def _failed(error: Exception) -> AuditError:
    """Return what is raised where a line could not even be made, as of a source that is not text."""
    return AuditError(
        f"the line for the audit log could not be made: {type(error).__name__}",
        hint="look at what the middleware and the backend of this pipeline report of a read",
    )


def _checking(file: FileSink, size: int) -> Callable[[], None]:
    return lambda: file.check(size)


def _paths(path: StrPath | Sequence[StrPath] | None) -> list[str]:
    if path is None:
        return []
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise ConfigurationError("an empty list of audit logs", hint="leave `path` out to use a logger")
    # Whole from the start: a program may change its folder later.
    return list(dict.fromkeys(os.path.abspath(os.fspath(one)) for one in paths))  # noqa: PTH100  # stays text
