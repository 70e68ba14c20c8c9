"""The folder of the user, where there is one: a container's user id may have none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["expanded", "expanded_text"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return `path` with a leading `~` replaced by the user's folder.

    Raises:
        ConfigurationError: Nothing says which folder that is: HOME is unset or empty, and the user
            id is in no list of users.
    """
    from pathlib import Path  # it takes long to import

    text = os.fspath(path)
    if not text.startswith("~"):
        return Path(path)
    ours = text == "~" or text.startswith("~/")
    # An empty HOME would make it the root folder.
    if not (ours and os.environ.get("HOME") == ""):
        try:
            return Path(path).expanduser()
        except RuntimeError:
            pass
    who = "this user" if ours else f"the user of {text.partition('/')[0]}"
    message = f"{text}: {who} has no home folder"
    raise ConfigurationError(message, hint="set HOME, or write the whole path")


def expanded_text(path: str | os.PathLike[str]) -> str:
    """Return `expanded` as text; only what begins with `~` needs `pathlib`.

    Raises:
        ConfigurationError: See `expanded`.
    """
    text = os.fspath(path)
    return str(expanded(text)) if text.startswith("~") else text
