"""The command line. `main` is what the `strongroom` script calls; each command is a module of its own.

Only the module of the command that is asked for is imported, and for the plain forms of `get`, which
scripts call in loops, not even click.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> int:
    """Run `strongroom` with `args` (those of the process by default) and return its exit code.

    Nothing is raised: errors are told on stderr, one line each.
    """
    from strongroom.cli.frame import guarded
    from strongroom.cli.quick import quick_get

    given = list(sys.argv[1:] if args is None else args)
    request = quick_get(given)
    if request is not None:
        from strongroom.cli.get import get

        return guarded(request.settings, lambda: get(request.settings, **request.options))

    from strongroom.cli.app import run_app

    return run_app(given)
