"""The providers, cache stores and ciphers of the installed plugins, each found at first use.

`strongroom.backends.VaultSecretProvider` imports `strongroom_vault` and nothing else; where that
distribution is missing, the error says which one to install.
"""

from __future__ import annotations

from typing import Any

from strongroom.errors import PluginError
from strongroom.plugins import nearest
from strongroom.plugins.factories import import_package
from strongroom.plugins.known import KNOWN_CLASSES

__all__ = tuple(KNOWN_CLASSES)  # each is found at first use


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    distribution = KNOWN_CLASSES.get(name)
    if distribution is not None:
        try:
            package = import_package(distribution)
        except ModuleNotFoundError as error:
            if error.name != distribution.replace("-", "_"):
                raise
            missing = PluginError(f"{name} is not installed", hint=f"pip install {distribution}")
        else:
            return getattr(package, name)
        raise missing
    found = _from_plugins(name)
    if found is not None:
        return found
    close = nearest(name, KNOWN_CLASSES)
    message = f"no installed plugin has a class {name}" + (f"; did you mean {close}?" if close else "")
    raise AttributeError(message)


def _from_plugins(name: str) -> Any:
    """Return the class that a third party's descriptor names as its factory."""
    from strongroom.plugins import finder

    for row in finder.list_components():
        factory = row.plugin.factory if row.plugin is not None and row.kind == "provider" else None
        if isinstance(factory, str) and factory.rpartition(":")[2] == name:
            return row.plugin.load() if row.plugin is not None else None
        if not isinstance(factory, str) and getattr(factory, "__name__", None) == name:
            return factory
    return None


def __dir__() -> list[str]:
    return list(__all__)
