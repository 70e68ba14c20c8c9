"""Which providers and methods get a guard; the guard itself is loaded for a third party's alone."""

from __future__ import annotations

from types import FunctionType
from typing import Any, Final

from strongroom.providers.base import CAPABILITY_METHODS, BaseProvider, package_of
from strongroom.runtime.coroutines import refuse_async, refuse_class

__all__ = ["guard", "guarded_method"]

_ALWAYS: Final = ("get_secret", "set_secret", "delete_secret", "list_secrets")
_ALL: Final = (*_ALWAYS, *(name for methods in CAPABILITY_METHODS.values() for name in methods))


def guard(provider: Any, *, around: Any = None) -> Any:
    """Return `provider` itself where it keeps to `strongroom.errors`, else a guard around it.

    Args:
        provider: Any object with the four methods.
        around: What it is around, if it is a middleware: there caches, tenants and stores are found, and its
            errors are passed on.

    Raises:
        TypeError: It lacks one of the four methods, one of its methods is a coroutine function, or it is a
            class.
    """
    missing = [name for name in _ALWAYS if not callable(getattr(provider, name, None))]
    if missing and not isinstance(provider, BaseProvider):
        message = f"{type(provider).__name__} is not a secret provider: it lacks {', '.join(missing)}"
        raise TypeError(message)
    refuse_class(provider, "get_secret")
    refuse_async(type(provider).__name__, **{name: getattr(provider, name, None) for name in _ALL})
    if isinstance(provider, BaseProvider):
        return provider
    from strongroom.providers.guarded import guarded_provider

    return guarded_provider(provider, around=around)


def guarded_method(name: str, method: Any) -> Any:
    """Return the method `name` of a middleware, with a guard around it if a third party wrote it."""
    if not isinstance(method, FunctionType) or package_of(method.__module__) == "strongroom":
        return method
    from strongroom.providers.guarded import guarded_function

    return guarded_function(name, method)
