"""`python -m strongroom` is the `strongroom` command."""

from __future__ import annotations

from strongroom.cli import script

if __name__ == "__main__":
    script()
