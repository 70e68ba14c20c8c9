"""What a program or a service says when it fails, without the values of secrets and without credentials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from strongroom.clients import redact_credentials
from strongroom.errors import RotationError, SecretNotFoundError, StrongroomError, raised_at, show_key
from strongroom.masking import Masker
from strongroom.masking.parts import parts

__all__ = ["redact", "redacted_error", "value_of"]

_SHOWN: Final = 200
"""Characters of a program's output."""
_SHOWN_OF_ERROR: Final = 400
"""Characters of an error's text: a program's output, after the words of `CommandRotator`."""


def redact(values: Iterable[str], text: str, *, shown: int = _SHOWN) -> str:
    """Return `text` in one line of `shown` characters at most, without `values` in any encoding.

    Credentials that it shows, such as the login of a URL, are left out, too.
    A longer text loses its beginning: the last words say why. Nothing is left if it may hold a value that is
    too short to be masked.
    """
    looked_for = [part for value in values for part in (value, *parts(value))]
    # Masked before lines are joined or cut off: a part of a value would not be found.
    masked = " ".join(redact_credentials(Masker(looked_for).mask_text(text)).split())
    if any(value and value in masked for value in looked_for):
        return ""
    return masked if len(masked) <= shown else f"…{masked[1 - shown :]}"


def redacted_error(error: Exception, values: Iterable[str]) -> str:
    """Return what `error` says, without `values`."""
    name = type(error).__name__
    if isinstance(error, UnicodeError):  # it shows a character of what was to be encoded
        return name
    try:
        text = redact(values, str(error), shown=_SHOWN_OF_ERROR)
    except Exception:  # noqa: BLE001  # a third party's method
        return name
    if isinstance(error, StrongroomError):
        return text or name
    return f"{name}: {text}" if text else name


def value_of(make: Callable[[], str], owner: object, who: str, key: str, values: Iterable[str]) -> str:
    """Return the new value of `key` that `make` returns, which is a third party's.

    Args:
        make: Returns it.
        owner: What makes it: the function, or the rotator.
        who: Its name for an error.
        key: The secret.
        values: The values that `make` knows.

    Raises:
        RotationError: It raised. An error of ours that shows none of `values` is raised as it is, if code of
            ours raised it, or if it shows no other text that was at hand there, such as a new value.
    """
    try:
        return make()
    except Exception as error:
        from strongroom.runtime.disclosure import discloses, shows_one_of

        # What others have made or fetched is not known here.
        discloses_more = not _is_by_us(error) and discloses(error, [key, *values], owner)
        ours = isinstance(error, StrongroomError) and not isinstance(error, SecretNotFoundError)
        if ours and not discloses_more and not shows_one_of(error, values):
            raise
        reason = redacted_error(error, values)
        if discloses_more:
            reason = f"{type(error).__name__}, raised at {raised_at(error)}"
    # Outside the `except` block: the error may hold a value, and must not be the context of ours.
    raise RotationError(f"the rotation of {show_key(key)} did not begin: its {who} failed: {reason}", key=key)


def _is_by_us(error: BaseException) -> bool:
    """Return whether a distribution of ours has raised `error`: it knows what its messages may hold."""
    from strongroom.plugins.known import KNOWN_TYPES

    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    ours = {name.replace("-", "_") for kinds in KNOWN_TYPES.values() for name in kinds.values()}
    return module.partition(".")[0] in ours | {"strongroom"}
