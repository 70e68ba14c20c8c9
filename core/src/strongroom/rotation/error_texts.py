"""What an error says that a rotation met on its way."""

from __future__ import annotations

from typing import Final

from strongroom.errors import (
    ConflictError,
    InvalidKeyError,
    RotationError,
    SecretTooLargeError,
    StrongroomError,
    show_key,
)

__all__ = ["explain_error"]

_GO_ON: Final = (
    "readers may get the old value while the target system has the new one: `resume` it as soon as that "
    "works, or roll it back"
)
_LAST: Final = (
    "readers get that value, and the target system takes it; `status` may show it in flight until `resume` "
    "has ended it"
)


def explain_error(
    error: StrongroomError, key: str, record_name: str, *, effect: str | None, in_flight: bool
) -> None:
    """Make `error` name the secret instead of its record, and say how far the rotation is.

    Args:
        error: What the rotation met; its message, hint and key are replaced.
        key: The secret.
        record_name: The key under which the state of its rotation is stored.
        effect: What has taken effect already, if only the record is left to be ended.
        in_flight: Whether the record of the attempt is stored.
    """
    name, shown = show_key(record_name), show_key(key)
    text = error.message.replace(name, shown)
    if isinstance(error, SecretTooLargeError) and error.key == record_name:
        what = f"the state of the rotation of {shown}"
        text = f"{what}, which holds its values, is too large: {error.message.replace(name, 'that state')}"
        error.hint = "choose a shorter value; in that state, quotes and line breaks take more room"
    if isinstance(error, InvalidKeyError) and error.key == record_name:
        text = f"the rotation of {shown} cannot keep its state: what it goes through refuses reserved names"
        error.hint = "if that is a registry, rotate through it directly: `SecretRotation(registry)`"
    elif isinstance(error, RotationError | ConflictError):
        pass
    elif effect is not None:
        text = f"{effect}, but could not be ended: {text}"
        error.hint = f"{error.hint}; {_LAST}" if error.hint else _LAST
    elif in_flight:
        text = f"the rotation of {shown} is in flight: {text}"
        error.hint = f"{error.hint}; {_GO_ON}" if error.hint else _GO_ON
    of_key = error.args == (error.key,)
    if error.key in {record_name, None}:
        error.key = key
    error.message = text
    error.args = (error.key,) if of_key else (text,)
