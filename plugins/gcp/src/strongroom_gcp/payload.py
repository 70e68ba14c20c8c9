"""Values as payloads of Secret Manager and back.

A payload is 1-65,536 bytes. Text is kept as its UTF-8, so other tools read and write the same secrets. Only
the empty text, which the service refuses, needs help: it is kept as the mark `strongroom.empty:`, and a value
that begins with that mark is kept with the mark once more in front of it, so the two are never taken for each
other.
"""

from __future__ import annotations

from strongroom.errors import BackendUnavailableError, SecretTooLargeError, ValidationError, show_key

MAX_BYTES = 65_536
EMPTY_MARK = b"strongroom.empty:"


def encode(key: str, value: str) -> bytes:
    """Return the payload that keeps `value`.

    Raises:
        SecretTooLargeError: It would be longer than the service takes.
    """
    data = value.encode()
    if not data or data.startswith(EMPTY_MARK):
        data = EMPTY_MARK + data
    if len(data) > MAX_BYTES:
        raise SecretTooLargeError(
            key,
            f"the value for {show_key(key)} is {len(data)} bytes long, Secret Manager takes {MAX_BYTES}",
            provider="gcp",
            hint="store large data elsewhere, encrypted, and keep only its key here",
        )
    return data


def decode(key: str, data: bytes) -> str:
    """Return the value that a payload keeps.

    Raises:
        ValidationError: It is not UTF-8 text: another tool wrote it.
    """
    data = data.removeprefix(EMPTY_MARK)
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass  # that exception holds the payload, so ours is raised outside of its context
    raise ValidationError(
        f"secret {show_key(key)} holds {len(data)} bytes that are not UTF-8 text",
        key=key,
        provider="gcp",
        hint="another tool wrote a binary secret; store it as text, such as base64, to read it here",
    )


def check_crc(key: str, sent: int | None, computed: int) -> None:
    """Raise if the payload was changed on its way.

    Raises:
        BackendUnavailableError: It was.
    """
    if sent is not None and sent != computed:
        raise BackendUnavailableError(
            f"the payload of {show_key(key)} arrived damaged: its CRC32C differs",
            key=key,
            provider="gcp",
            hint="read it again; if that fails too, something between here and Google alters traffic",
        )
