"""What the address of a member looks like: for the spec and for the provider, which loads no pydantic."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["is_endpoint"]

_ENDPOINT: Final = re.compile(r"https?://[^/@\s]+/?", re.IGNORECASE)


def is_endpoint(address: str) -> bool:
    """Return whether `address` can be that of a member."""
    try:
        return bool(_ENDPOINT.fullmatch(address)) and urlsplit(address).port != 0
    except ValueError:  # its port is not a number, or too large a one
        return False
