"""Importing factories of components and packages of ours, without pydantic and without descriptors."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from strongroom.errors import PluginError
from strongroom.runtime.coroutines import is_async

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = [
    "HOOK_METHODS",
    "check_made",
    "describe_error",
    "import_package",
    "load_factory",
    "takes_text_paths",
]

_PROVIDER: Final = ("get_secret", "set_secret", "delete_secret", "list_secrets")
_METHODS: Final = {
    "provider": _PROVIDER,
    "middleware": _PROVIDER,
    "hook": ("before", "after"),
    "encryption": ("encrypt", "decrypt"),
    "cache": ("get", "set", "delete", "clear", "lock"),
    "rotator": ("apply", "verify"),
}
"""What a component of each kind has at least."""
HOOK_METHODS: Final = (
    *("before", "after", "before_all", "after_all"),
    *("registry_opened", "registry_closing", "diagnose"),
)
"""What a hook may have. A coroutine function among them would veto or record nothing."""


def check_made(made: Any, kind: str) -> Any:
    """Return `made`, which a factory returned.

    Raises:
        PluginError: It is not a component of `kind`, such as None from a factory without `return`.
    """
    is_class = isinstance(made, type)
    what = f"the class {made.__name__}, not an object of it" if is_class else f"a {type(made).__name__}"
    lacking = [name for name in _METHODS[kind] if is_class or not callable(getattr(made, name, None))]
    if lacking:
        raise PluginError(
            f"its factory returned {what}",
            hint=f"a component of the kind {kind} has the methods {', '.join(lacking)}",
        )
    called = HOOK_METHODS if kind == "hook" else _METHODS[kind]
    unusable = [name for name in called if is_async(getattr(made, name, None))]
    if unusable:
        raise PluginError(
            f"its factory returned a {type(made).__name__}, of which {', '.join(unusable)} must not be async",
            hint="the plugin is broken: install a newer version of it",
        )
    return made


def load_factory(path: str, type_name: str) -> Callable[..., Any]:
    """Import `"module:name"`, the factory of `type_name`.

    Raises:
        PluginError: It cannot be imported, whatever its import raises.
    """
    module, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module), name)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        from strongroom.plugins.known import KNOWN_CLASSES  # a plain read needs none of it

        package = module.partition(".")[0]
        distribution = package.replace("_", "-")
        absent = isinstance(error, ModuleNotFoundError) and error.name in {package, module}
        if absent and distribution in KNOWN_CLASSES.values():
            raise PluginError(f"{type_name} is not installed", hint=f"pip install {distribution}") from error
        raise PluginError(
            f"{type_name}: its factory {path} cannot be imported: {describe_error(error)}",
            hint="install what the plugin needs, or its newer version",
        ) from error
    return factory  # type: ignore[no-any-return]  # whatever the plugin exports; assembly calls it


def import_package(distribution: str) -> Any:
    """Return the package of a distribution of ours.

    Raises:
        ModuleNotFoundError: It is not there. Bytecode that an uninstallation has left behind does not count,
            though Python takes its folder for a package.
    """
    name = distribution.replace("-", "_")
    package = importlib.import_module(name)
    if getattr(package, "__file__", None) is None:
        raise ModuleNotFoundError(name=name)
    return package


def takes_text_paths(path: str) -> bool:
    """Return whether the factory `"module:name"` takes paths as text; a class derived from it may not."""
    try:
        factory = load_factory(path, "")
    except PluginError:  # raised again when the component is made
        return False
    return bool(getattr(factory, "__dict__", {}).get("takes_text_paths", False))


def describe_error(error: BaseException) -> str:
    """Return the class and message of an error that a plugin raised."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
