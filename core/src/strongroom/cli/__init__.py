"""The command line. `script` is what the `strongroom` command calls; each command is a module of its own.

Only the module of the command that is asked for is imported, and for the plain forms of `get` and `run`,
which scripts call in loops, not even click.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

__all__ = ["main", "script"]


def script() -> None:
    """Run the command line as a process, and end the process with its exit code."""
    from strongroom.cli.fast_path import parse_fast_call
    from strongroom.cli.standard_streams import fill_closed

    fill_closed()
    if parse_fast_call(sys.argv[1:]) is None:
        sys.exit(main())
    import gc

    # Such a call is over before anything is worth collecting, and all that it opened is closed by then: the
    # interpreter's clearing up would take longer than the reading.
    gc.disable()
    os._exit(main())


def main(args: Sequence[str] | None = None) -> int:
    """Run `strongroom` with `args` (those of the process by default) and return its exit code.

    Nothing is raised: errors go to stderr, one line each.
    """
    from strongroom.cli.context import run_guarded
    from strongroom.cli.fast_path import parse_fast_call

    arguments = list(sys.argv[1:] if args is None else args)
    request = parse_fast_call(arguments)
    if request is not None:
        call: Callable[..., int | None]
        if request.command == "get":
            from strongroom.cli.get import get as call
        else:
            from strongroom.cli.run import run as call

        return run_guarded(request.settings, lambda: call(request.settings, **request.options))

    from strongroom.cli.app import run_app

    return run_app(arguments)
