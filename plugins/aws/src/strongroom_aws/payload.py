"""Values as the services can hold them: never empty, and of limited size.

Both services refuse an empty value, and the Parameter Store one with `{{`. A value is stored unchanged unless
it is such a one or begins like an escape:

- `strongroom:text:` and the value: empty values, and values that begin with one of these two markers;
- `strongroom:base64:` and the base64 of its UTF-8: values with `{{`, in the Parameter Store only.
"""

from __future__ import annotations

import base64
import binascii

from strongroom.errors import SecretTooLargeError, ValidationError, show_key
from strongroom.keys import check_value

TEXT_MARK = "strongroom:text:"
BASE64_MARK = "strongroom:base64:"


def encode(value: str, key: str, limit: int, provider: str, *, braces: bool = True) -> str:
    """Return what is stored for `value`; `braces` says whether the service takes `{{`.

    Raises:
        SecretTooLargeError: It has more than `limit` bytes.
        TypeError, ValidationError: `value` is not text, or holds a lone surrogate.
    """
    check_value(value, key)
    if not braces and "{{" in value:
        text = BASE64_MARK + base64.b64encode(value.encode()).decode()
    elif not value or value.startswith((TEXT_MARK, BASE64_MARK)):
        text = TEXT_MARK + value
    else:
        text = value
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise SecretTooLargeError(
            key,
            f"the value for {show_key(key)} takes {size:,} bytes, and the service holds {limit:,}",
            provider=provider,
            hint="keep it elsewhere, or split it into several secrets",
        )
    return text


def decode(text: str, key: str, provider: str) -> str:
    """Return the value that is stored as `text`.

    Raises:
        ValidationError: It begins like an escape that strongroom did not write.
    """
    if not text.startswith("strongroom:"):
        return text
    if text.startswith(TEXT_MARK):
        return text[len(TEXT_MARK) :]
    if not text.startswith(BASE64_MARK):
        return text
    try:
        return base64.b64decode(text[len(BASE64_MARK) :], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        pass
    # Outside the `except` block: what could not be decoded holds the value.
    raise ValidationError(
        f"{show_key(key)} begins with {BASE64_MARK!r}, but what follows is not base64 of text",
        key=key,
        provider=provider,
        hint="another tool wrote it: set it again",
    )


def binary(key: str, provider: str) -> ValidationError:
    """Return the error for a secret that holds bytes."""
    return ValidationError(
        f"secret {show_key(key)} is binary, and strongroom reads text",
        key=key,
        provider=provider,
        hint="it was stored by another tool; store it as text (SecretString), as base64 for instance",
    )
