"""`python -m strongroom` is the `strongroom` command."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `-m` puts the current folder first, which may be another user's: nothing is imported from it.
    try:
        here = os.getcwd()  # noqa: PTH109  # pathlib would be imported from there
    except OSError:  # it is gone
        here = ""
    if not sys.flags.safe_path and sys.path and sys.path[0] in {"", here}:
        del sys.path[0]
    from strongroom.cli import script

    script()
