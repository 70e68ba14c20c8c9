"""What every command stands in: the global options, and what becomes of errors."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from strongroom.cli import failures

if TYPE_CHECKING:
    from strongroom.registry import SecretProviderRegistry
    from strongroom.spec.plan import Plan

__all__ = ["INTERRUPTED", "Settings", "guarded"]

INTERRUPTED = 128 + signal.SIGINT
_PIPE_CLOSED = 128 + signal.SIGPIPE


class Settings:
    """The global options of one call."""

    __slots__ = ("debug", "json", "pipeline", "profile", "spec", "tenant")

    def __init__(
        self,
        *,
        spec: str | None = None,
        profile: str | None = None,
        pipeline: str | None = None,
        json: bool = False,
        debug: bool = False,
    ) -> None:
        self.spec = spec
        self.profile = profile
        self.pipeline = pipeline
        self.json = json
        self.debug = debug
        self.tenant: str | None = None

    def registry(self, pipelines: Sequence[str] = ()) -> SecretProviderRegistry:
        """Return the registry that the options ask for; the caller closes it.

        Args:
            pipelines: Those that the command names itself.

        Raises:
            UsageError: A tenant is given, and nothing that is asked would heed it.
        """
        from strongroom.registry import SecretProviderRegistry

        registry = SecretProviderRegistry(self.spec, profile=self.profile, pipeline=self.pipeline)
        if self.tenant is not None:
            from strongroom.cli.tenants import refuse_heedless

            try:
                refuse_heedless(registry.plan, pipelines or ([self.pipeline] if self.pipeline else ()))
            except failures.UsageError:
                registry.close()
                raise
        return registry

    def plan(self, *, look_up: bool = False) -> Plan:
        """Return the plan of the spec; without `look_up` no variable and no other file is read."""
        from strongroom.spec.finding import find_plan

        return find_plan(self.spec, profile=self.profile, pipeline=self.pipeline, look_up=look_up)

    def warn(self, message: str) -> None:
        """Tell `message` on stderr."""
        failures.tell_warning(message, as_json=self.json)


def guarded(settings: Settings, command: Callable[[], int | None]) -> int:
    """Run `command` and return its exit code, having told whatever it raises.

    Args:
        settings: Read only after a failure, so the command may still fill them in.
        command: Returns its exit code, or None for 0.
    """
    shown, warnings.showwarning = warnings.showwarning, partial(_show_warning, settings, warnings.showwarning)
    try:
        code = command() or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_is_gone()
    except Exception as error:  # noqa: BLE001  # the last place that can turn it into a line
        return _told(error, settings)
    finally:
        warnings.showwarning = shown
    return code


def _show_warning(
    settings: Settings,
    shown: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
    **more: Any,
) -> None:
    """Tell strongroom's own warnings as lines; the others as Python does."""
    if category.__module__.partition(".")[0].startswith("strongroom"):
        settings.warn(str(message))
    else:
        shown(message, category, *place, **more)


def _told(error: Exception, settings: Settings) -> int:
    try:
        return failures.tell(error, as_json=settings.json, debug=settings.debug)
    except BrokenPipeError:  # nobody reads stderr either
        return failures.exit_code(error)


def _reader_is_gone() -> int:
    # Python flushes stdout once more as it exits, and would complain.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return _PIPE_CLOSED


def wants_json(args: Sequence[str]) -> bool:
    """Tell whether `args` ask for JSON, for errors that come before they are understood."""
    own = args[: args.index("--")] if "--" in args else args
    return "--json" in own
