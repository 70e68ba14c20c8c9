"""Values as Key Vault keeps them, and back.

The service keeps text of up to 25 KiB, so values are kept as they are, and other tools read and write the
same secrets. Only the empty text, which the service refuses, needs help: it is kept as the mark
`strongroom.empty:`, and a value that begins with that mark is kept with the mark once more in front of it, so
the two are never taken for each other.
"""

from __future__ import annotations

from strongroom.errors import BackendUnavailableError, SecretTooLargeError, ValidationError, show_key

MAX_BYTES = 25_600
EMPTY_MARK = "strongroom.empty:"


def encode(key: str, value: str) -> str:
    """Return the text that keeps `value`.

    Raises:
        SecretTooLargeError: It would be longer than the service takes.
    """
    text = EMPTY_MARK + value if not value or value.startswith(EMPTY_MARK) else value
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_BYTES:
        raise SecretTooLargeError(
            key,
            f"the value for {show_key(key)} is {size} bytes long, Key Vault takes {MAX_BYTES}",
            provider="azure",
            hint="store large data elsewhere, encrypted, and keep only its key here",
        )
    return text


def decode(key: str, text: object, *, named: bool) -> str:
    """Return the value that `text` keeps.

    Args:
        key: The key it was read for.
        text: The value in the answer of the service.
        named: Whether the answer names the secret, as each of Key Vault's does.

    Raises:
        ValidationError: The secret has no text as its value.
        BackendUnavailableError: The answer is not Key Vault's.
    """
    if isinstance(text, str) and named:
        return text.removeprefix(EMPTY_MARK)
    if not named:
        raise BackendUnavailableError(
            f"azure: reading {show_key(key)}: the answer is not Key Vault's", key=key, provider="azure"
        )
    raise ValidationError(
        f"secret {show_key(key)} has no text as its value",
        key=key,
        provider="azure",
        hint="another tool made it without a value; set it, or read it with that tool",
    )
