"""Chooses the backend of the keyring library."""

from __future__ import annotations

from typing import Any

from strongroom.errors import ConfigurationError

__all__ = ["choose_backend"]

_HINT = "run 'keyring --list-backends', and name one in the option 'backend'"


def choose_backend(backend: Any) -> Any:
    """Return the backend that `backend` stands for: itself, its class, its dotted name, or the default.

    Raises:
        ConfigurationError: It cannot be used here, would lose what is written, or is strongroom itself.
        TimeoutError: The desktop's bus did not answer; it may later.
    """
    chosen = _made(backend)
    places = {f"{cls.__module__}.{cls.__qualname__}" for cls in type(chosen).__mro__}
    if "keyring.backends.null.Keyring" in places:
        raise ConfigurationError(
            "keyring: the keyring is switched off (its null backend forgets what it is given)",
            provider="keyring",
            hint=_HINT,
        )
    if "strongroom.integrations.keyring.StrongroomKeyring" in places:
        raise ConfigurationError(
            "keyring: the keyring library is set to read from strongroom, which would go round in a circle",
            provider="keyring",
            hint="name the desktop's own backend in the option 'backend'",
        )
    return chosen


def _made(backend: Any) -> Any:
    import keyring
    from keyring.core import load_keyring

    name = backend if isinstance(backend, str) else getattr(backend, "__qualname__", type(backend).__name__)
    try:
        if backend is None:
            return keyring.get_keyring()
        if isinstance(backend, str):
            return load_keyring(backend)
        if isinstance(backend, type):
            return backend()
    except TimeoutError:  # a busy desktop, of which nothing is to be configured
        raise
    except Exception as error:
        # Importing and making a backend handles no secret.
        raise ConfigurationError(
            f"keyring: backend {name if backend is not None else 'of the environment'!r} cannot be used: "
            f"{type(error).__name__}: {error}",
            provider="keyring",
            hint=_HINT,
        ) from error
    if not callable(getattr(backend, "get_password", None)):
        raise ConfigurationError(f"keyring: {name} is not a keyring backend", provider="keyring", hint=_HINT)
    return backend
