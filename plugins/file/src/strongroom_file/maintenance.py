from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import ReadOnlyError

from strongroom_file.faults import TYPE_NAME

if TYPE_CHECKING:
    from strongroom_file.session import Session


def require_writable(session: Session) -> None:
    """Raise `ReadOnlyError` where the store was opened for reading only."""
    if session.read_only:
        raise ReadOnlyError(f"{session.path} or its folder is read-only", provider=TYPE_NAME)
