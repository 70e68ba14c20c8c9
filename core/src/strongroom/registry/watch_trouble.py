"""Reports of sources that a watch cannot ask: once when that begins, and once when it ends.

They go to the log, with the pipeline and the error's message, which names the address. If access was refused,
they also go to hooks, and so to the audit log, as an event `watch` whose outcome is `denied`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Final

from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    StrongroomError,
    show_error,
    show_key,
)
from strongroom.registry.watched import WatchedGroup

__all__ = ["OF_ALL_KEYS", "note_failure", "note_refused_keys", "note_success"]

OF_ALL_KEYS: Final = (AuthenticationError, BackendUnavailableError, ConfigurationError)
"""Errors that are not about one key: the others need not be asked for."""
_REFUSALS: Final = (AuthenticationError, PermissionDeniedError)
_SHOWN: Final = 3
_log = logging.getLogger("strongroom.watch")


def note_failure(group: WatchedGroup, error: BaseException) -> None:
    """Report that a pipeline cannot be asked, unless the last attempt failed in the same way."""
    kind = type(error).__name__
    if group.failing == kind:
        return
    group.failing = kind
    _log.warning(
        "watch: pipeline %s cannot be asked for changes (%s); it is tried again",
        group.pipeline.name, show_error(error),
    )  # fmt: skip
    _tell_hooks(group, group.names(), error)


def note_success(group: WatchedGroup) -> None:
    """Report that a pipeline can be asked again, if it could not be before."""
    if group.failing:
        group.failing = ""
        _log.warning("watch: pipeline %s can be asked for changes again", group.pipeline.name)


def note_refused_keys(
    group: WatchedGroup, keys: Iterable[str], refused: Mapping[str, StrongroomError]
) -> None:
    """Report which of the keys that were asked for are newly refused, and which no longer are."""
    name = group.pipeline.name
    again = [key for key in keys if key in group.refused and key not in refused]
    if again:
        group.refused.difference_update(again)
        _log.warning("watch: pipeline %s: %s can be asked for again", name, _keys(again))
    news = {key: error for key, error in refused.items() if key not in group.refused}
    if not news:
        return
    group.refused.update(news)
    _log.warning(
        "watch: pipeline %s: %s cannot be asked for (%s); what is known of it stays",
        name, _keys(news), show_error(next(iter(news.values()))),
    )  # fmt: skip
    for key, error in news.items():
        _tell_hooks(group, [key], error)


def _tell_hooks(group: WatchedGroup, keys: list[str], error: BaseException) -> None:
    if not isinstance(error, _REFUSALS):
        return

    def refused() -> dict[str, None]:
        raise error

    try:
        group.pipeline.run_batch_with_hooks("watch", keys, refused)
    except KeyboardInterrupt:  # at the start of a watch, in its caller's thread
        raise
    except BaseException as raised:  # noqa: BLE001  # a hook may raise anything, also an exit
        if raised is not error:
            _log.warning("watch: a hook failed at the event of a refusal: %s", type(raised).__name__)


def _keys(keys: Iterable[str]) -> str:
    shown = [show_key(key) for key in keys]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return f"{', '.join(shown[:_SHOWN])}{more}"
