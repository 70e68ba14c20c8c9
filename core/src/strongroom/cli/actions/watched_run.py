"""`strongroom run --watch`."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from strongroom.cli.child.control import ChildControl, signal_of, texts_of
from strongroom.cli.child.environment import child_environment, refuse_dangerous, refuse_unholdable
from strongroom.cli.child.launch import refuse_too_large
from strongroom.cli.child.masked import masked_texts, masker_of
from strongroom.cli.child.running import StoppedForRestart, run_child
from strongroom.cli.child.secret_files import SecretFiles
from strongroom.cli.child.signals import handled, keyboard_signals_left_to_main
from strongroom.cli.declared.selection import deprecations, newly_undeclared, read_all, select_secrets
from strongroom.cli.errors import UsageError
from strongroom.declarations.resolve import keys_of
from strongroom.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.cli.child.running import Outcome
    from strongroom.cli.context import GlobalOptions
    from strongroom.declarations.resolution import Resolution
    from strongroom.masking import Masker
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.secret_plan import SecretPlan

__all__ = ["run_watched"]


def run_watched(
    settings: GlobalOptions,
    words: Sequence[str],
    *,
    group: str | None,
    only: str | None,
    no_mask: bool,
    allow_empty: bool,
    keep: Sequence[str],
    on_change: str,
    poll_seconds: float,
    stop_timeout: float,
) -> int:
    """Run `words` with the declared secrets, pass changes on to it, and return its exit code.

    Raises:
        UsageError: A number is out of its range, or there is no spec to watch.
    """
    number = signal_of(on_change)
    if not (poll_seconds > 0 and stop_timeout >= 0):
        raise UsageError("--poll-seconds must be above 0, and --stop-timeout not negative")
    with ExitStack() as stack:
        stack.enter_context(keyboard_signals_left_to_main())
        registry = stack.enter_context(settings.registry())
        if registry.plan.origin == "own" and not allow_empty:
            raise UsageError(
                "there is no spec here, so there is nothing to watch", hint="run `strongroom init`"
            )
        chosen = select_secrets(registry.plan, group=group, only=only, source=registry)
        refuse_dangerous(chosen)
        handover = _Handover(registry, chosen, stack.enter_context(SecretFiles()), keep)

        def read() -> Mapping[str, Resolution]:
            found = handover.read()
            if number is None:  # no program could be started with it, and the present one would be gone
                refuse_too_large(words, handover.environment(found))
            return found

        control = ChildControl(
            read,
            number=number, stop_timeout=stop_timeout, renew_files=handover.renew_files, warn=settings.warn,
        )  # fmt: skip
        stack.callback(control.close)
        pass_on = stack.enter_context(_watch_held_back())  # before the watch, so that it outlasts it
        _watch(stack, registry, chosen, control, poll_seconds)
        control.begin(handover.read())
        pass_on()
        plan = registry.plan
        undeclared = newly_undeclared(plan.source, plan.profile, plan.secrets)
        # Between two children a signal must not end us before the cleanup, nor get lost.
        stack.enter_context(handled(dict.fromkeys(_meant(), lambda number, _: control.met.append(number))))
        outcome = _run_until_it_ends(settings, words, handover, control, undeclared, no_mask=no_mask)
    return outcome if isinstance(outcome, int) else outcome.end()


@contextmanager
def _watch_held_back() -> Iterator[Callable[[], None]]:
    """Hold back what the watch logs until what is yielded is called; if the block ends before, drop it.

    In an outage at the start, the first read says what is wrong. If that succeeds all the same, as from a
    cache, only the watch can tell that it hears of no changes.
    """
    log = logging.getLogger("strongroom.watch")
    held: list[logging.LogRecord] = []

    def hold(record: logging.LogRecord) -> bool:
        held.append(record)
        return False

    def pass_on() -> None:
        log.removeFilter(hold)
        for record in held:
            log.handle(record)

    log.addFilter(hold)
    try:
        yield pass_on
    finally:
        log.removeFilter(hold)


def _watch(
    stack: ExitStack,
    registry: SecretProviderRegistry,
    chosen: Mapping[str, SecretPlan],
    control: ChildControl,
    poll_seconds: float,
) -> None:
    """Watch the secrets in `chosen` until `stack` is closed."""
    keys = keys_of(registry.plan, chosen)
    if not keys:
        return
    try:
        watch = registry.watch(keys, control.changed, poll_seconds=poll_seconds)
    except StrongroomError:
        read_all(registry, chosen)  # its error names all that is missing or wrong
        raise
    stack.enter_context(watch)
    stack.callback(control.stop)


def _run_until_it_ends(
    settings: GlobalOptions,
    words: Sequence[str],
    handover: _Handover,
    control: ChildControl,
    undeclared: str | None,
    *,
    no_mask: bool,
) -> Outcome | int:
    """Start the child, and again after changes; return how it ended, or the exit code of a signal."""
    shown: set[str] = set()
    while True:
        control.take()  # changes until now are in the values below
        environment = handover.environment(control.resolutions)
        texts, unmasked = ([], None) if no_mask else masked_texts(control.resolutions)
        notices = [
            *deprecations(control.resolutions),
            *(one for one in (unmasked, undeclared) if one is not None),
        ]
        _warn_once(settings, notices, shown)
        if control.met:
            return 128 + control.met[0]
        try:
            return run_child(words, environment, _masker(control) if texts else None, control)
        except StoppedForRestart:
            pass
        ended = _ended_within(control.pause_before_restart())
        if ended is not None:
            return 128 + ended


def _warn_once(settings: GlobalOptions, notices: Sequence[str], shown: set[str]) -> None:
    news = "; ".join(one for one in notices if one not in shown)
    shown.update(notices)
    if news:
        settings.warn(news)


class _Handover:
    """The variables and files by which the child gets its secrets."""

    def __init__(
        self,
        registry: SecretProviderRegistry,
        chosen: Mapping[str, SecretPlan],
        files: SecretFiles,
        keep: Sequence[str],
    ) -> None:
        self._registry = registry
        self._chosen = chosen
        self._files = files
        self._keep = keep
        self._in_files = {name for name, plan in chosen.items() if plan.as_file}
        self._paths: dict[str, str] = {}

    def read(self) -> Mapping[str, Resolution]:
        """Read the secrets; see `read_all`."""
        return read_all(self._registry, self._chosen)

    def renew_files(self, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
        """Write the files again if one has changed; return the names of changed ones without a file."""
        differing = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        if differing & self._in_files:
            # A file that the child has got stays there, even if its secret is gone.
            there = {name for name in self._in_files if name in after or name in self._paths}
            self._paths.update(self._files.put({name: after.get(name, "") for name in there}))
        return sorted(differing - self._in_files)

    def environment(self, found: Mapping[str, Resolution]) -> dict[str, str]:
        """Return the child's environment with these secrets.

        Raises:
            ValidationError: No environment holds one of them.
        """
        texts = texts_of(found)
        paths = {name: self._paths.get(name, "") for name in texts if name in self._in_files}
        variables = texts | paths
        refuse_unholdable(variables)
        return child_environment(
            os.environ, variables, credentials=self._registry.environment(), keep=self._keep
        )


def _ended_within(seconds: float) -> int | None:
    """Wait; return the number of a signal that asks for an end meanwhile, since no child can get it."""
    if not seconds:
        return None

    def end(number: int, _frame: FrameType | None) -> None:
        raise _SignalledError(number)

    try:
        with handled(dict.fromkeys(_meant(), end)):
            time.sleep(seconds)
    except _SignalledError as error:
        return error.number
    return None


def _meant() -> list[int]:
    """Return the signals that ask for an end, without those that are ignored, as by nohup."""
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


class _SignalledError(Exception):
    """A signal came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _masker(control: ChildControl) -> Callable[[], Masker]:
    """Return a function that makes the masker of all values that the child has got so far."""

    def make() -> Masker:
        sets = [*control.earlier, control.resolutions]
        made = masker_of([text for found in sets for text in masked_texts(found)[0]])
        assert made is not None  # noqa: S101  # there was something to mask at the start
        return made()

    return make
