"""`strongroom run --watch`, put together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from strongroom.cli.child.environment import child_environment, refuse_dangerous, refuse_unholdable
from strongroom.cli.child.secret_files import SecretFiles
from strongroom.cli.child.supervisor import StoppedForRestart, run_child
from strongroom.cli.errors import UsageError
from strongroom.cli.masked import masked_texts, masker_of
from strongroom.cli.selection import deprecations, read_all, select_secrets
from strongroom.cli.watching import ChildControl, keys_of, signal_of, texts_of

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions
    from strongroom.masking import Masker

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
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """Run `words` with the declared secrets, and let it have what changes; return its exit code."""
    number = signal_of(on_change)
    if not (poll_seconds > 0 and stop_timeout >= 0):
        raise UsageError("--poll-seconds must be above 0, and --stop-timeout not negative")
    with ExitStack() as stack:
        registry = stack.enter_context(settings.registry())
        if registry.plan.origin == "own" and not allow_empty:
            raise UsageError(
                "there is no spec here, so there is nothing to watch", hint="run `strongroom init`"
            )
        chosen = select_secrets(registry.plan, group=group, only=only)
        refuse_dangerous(chosen)
        found = read_all(registry, chosen)
        files = stack.enter_context(SecretFiles())
        in_files = {name for name, plan in chosen.items() if plan.as_file}
        paths: dict[str, str] = {}

        def renew_files(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
            differing = [name for name in {*before, *after} if before.get(name) != after.get(name)]
            for name in sorted(in_files.intersection(differing)):
                if name in paths:
                    files.renew(name, after.get(name, ""))
                else:
                    paths[name] = files.add(name, after[name])
            return sorted(name for name in differing if name not in in_files)

        control = ChildControl(
            registry, chosen, found,
            number=number, stop_timeout=stop_timeout, renew_files=renew_files, warn=settings.warn,
        )  # fmt: skip
        stack.callback(control.close)
        renew_files({}, {name: text for name, text in texts_of(found).items() if name in in_files})
        said: set[str] = set()
        keys = keys_of(found)
        if keys:
            stack.enter_context(registry.watch(keys, control.changed, poll_seconds=poll_seconds))
        while True:
            control.take()  # what came until now is in what is read next
            given = texts_of(control.found)
            variables = given | {name: paths[name] for name in given if name in in_files}
            refuse_unholdable(variables)
            environment = child_environment(
                os.environ, variables, credentials=registry.environment(), keep=keep
            )
            texts, unmasked = ([], None) if no_mask else masked_texts(control.found)
            told = [*deprecations(control.found), *([unmasked] if unmasked is not None else [])]
            news = "; ".join(one for one in told if one not in said)
            said.update(told)
            if news:
                settings.warn(news)
            try:
                return run_child(words, environment, _masker(control) if texts else None, control)
            except StoppedForRestart:
                pause(control.pause_before_restart())


def _masker(control: ChildControl) -> Callable[[], Masker]:
    """Return what makes the masker of all that the child has been given by now."""

    def make() -> Masker:
        sets = [*control.earlier, control.found]
        made = masker_of([text for found in sets for text in masked_texts(found)[0]])
        assert made is not None  # noqa: S101  # there was something to mask at the start
        return made()

    return make
