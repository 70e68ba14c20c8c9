"""The command line. The `strongroom` command calls `script`; each command is a module of its own.

Only the module of the command in use is imported. Plain calls of commands that scripts use in loops, such as
`get`, `run` and `check`, do without click.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main", "script"]


def script() -> None:
    """Run the command line as a process, and end the process with its exit code."""
    from strongroom.cli.standard_streams import fill_closed

    fill_closed()
    from strongroom.cli.bytecode import use_one_file

    keep_modules = use_one_file()
    from strongroom.cli.fast_path import COMMANDS, parse_fast_call

    call = parse_fast_call(sys.argv[1:])
    if call is None or COMMANDS[call.command].lasts:
        sys.exit(main())
    import atexit
    import contextlib
    import gc

    # Such a call is over before garbage is worth collecting, and everything that it opened is closed by then:
    # the interpreter's cleanup would take longer than the read.
    gc.disable()
    code = main()
    # Those of others: of a plugin, or of OpenTelemetry's exporter, which sends its last spans.
    atexit._run_exitfuncs()  # noqa: SLF001  # there is no other way to them
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # it may be closed
            stream.flush()  # what they have printed
    if "pydantic" not in sys.modules:  # a first start may be the only one, as in a container
        with contextlib.suppress(KeyboardInterrupt):  # the work is done
            keep_modules()
    os._exit(code)


def main(args: Sequence[str] | None = None) -> int:
    """Run `strongroom` with `args` (those of the process by default) and return its exit code.

    Nothing is raised: errors go to stderr, one line each.
    """
    from strongroom.cli.context import run_guarded
    from strongroom.cli.fast_path import COMMANDS, parse_fast_call

    arguments = list(sys.argv[1:] if args is None else args)
    request = parse_fast_call(arguments)
    if request is not None:
        load = COMMANDS[request.command].load
        return run_guarded(request.settings, lambda: load()(request.settings, **request.options))

    from strongroom.cli.app import run_app

    return run_app(arguments)
