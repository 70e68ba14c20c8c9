"""`strongroom serve`, without click; `commands/serve.py` has the options."""

from __future__ import annotations

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

    gc.disable()  # imported modules are not garbage: looking for some takes 6 % of a start
    from strongroom.cli.actions.overview import Overview
    from strongroom.plugins import command_of

    run: Any = command_of("serve", "strongroom-serve")
    gc.freeze()
    gc.enable()
    code: int = run(settings.registry, socket=socket, listen=listen, overview=Overview(settings))
    return code
