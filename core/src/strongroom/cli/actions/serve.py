"""`strongroom serve`, without click; `commands/serve.py` has the options."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from strongroom.cli.context import GlobalOptions

__all__ = ["serve"]


def serve(settings: GlobalOptions, *, socket: str | None = None, listen: str | None = None) -> int:
    """Answer clients until a signal says to end, and return the exit code.

    Args:
        settings: The options of the command.
        socket: Listen at this Unix socket, instead of what the spec says.
        listen: Listen at this `HOST:PORT`, instead of what the spec says.
    """
    import gc

    loading = _load_apart(settings)
    gc.disable()  # imported modules are not garbage: looking for some takes 6 % of a start
    from strongroom.cli.actions.overview import Overview
    from strongroom.plugins import command_of

    run: Any = command_of("serve", "strongroom-serve")
    gc.freeze()
    gc.enable()
    if loading is not None:
        with contextlib.suppress(ChildProcessError):  # who starts us may ignore SIGCHLD: then it has ended
            os.waitpid(loading, 0)
    code: int = run(settings.registry, socket=socket, listen=listen, overview=Overview(settings))
    return code


def _load_apart(settings: GlobalOptions) -> int | None:
    """Let a child process load a spec that has no record yet, so that this process finds one; return its id.

    What a load needs, pydantic above all, takes 15 MB, for as long as the process lives that has loaded it. A
    child that fails says nothing: without a record, this process loads the spec itself.
    """
    from strongroom.spec.locate import applicable
    from strongroom.spec.records import are_kept, recall

    spec, profile = applicable(settings.spec, settings.profile)
    if spec is None or recall(spec, profile) is not None or not are_kept():
        return None
    try:
        child = os.fork()
    except OSError:  # there may be no more processes
        return None
    if child == 0:
        try:
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (1, 2):
                os.dup2(nowhere, stream)
            settings.plan()
        finally:
            os._exit(0)
    return child
