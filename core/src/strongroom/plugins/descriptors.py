"""The descriptors of components that a plugin gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from strongroom.plugins.factories import load_factory
from strongroom.runtime.frozen import frozen

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["GROUP", "KINDS", "CachePlugin", "Kind", "Plugin", "RotatorPlugin"]


GROUP = "strongroom"
CORE = "strongroom-core"
Kind = Literal["provider", "middleware", "hook", "encryption", "cache", "rotator"]
KINDS: dict[Kind, str] = {
    "provider": "strongroom_providers",
    "middleware": "strongroom_middleware",
    "hook": "strongroom_hooks",
    "encryption": "strongroom_encryption",
    # Not a hook of its own: a store is a part of caching middleware.
    "cache": "strongroom_middleware",
    # Nor for a rotator: a plugin for a server's secrets mostly knows how to change them there.
    "rotator": "strongroom_providers",
}
"""Each kind of component with the hook that gives its descriptors."""


@frozen
class Plugin:
    """The descriptor of one component.

    Attributes:
        name: The type name: the entry point's name, or that, a dot and a part (`acme.transit`).
        summary: One line for `strongroom plugins`.
        config: A pydantic model of the options; importing it must need no SDK.
        factory: A callable, or `"module:name"` imported at first use.
        address: The names of the options that decide which stored secret a key means, and so the names in a
            shared cache; None: all of them.
    """

    name: str
    summary: str
    config: type[BaseModel]
    factory: Callable[..., Any] | str
    address: frozenset[str] | None = None

    def __init__(
        self,
        *,
        name: str,
        summary: str,
        config: type[BaseModel],
        factory: Callable[..., Any] | str,
        address: frozenset[str] | None = None,
    ) -> None:
        for member, value in zip(self.__match_args__, (name, summary, config, factory, address), strict=True):
            object.__setattr__(self, member, value)

    def load(self) -> Callable[..., Any]:
        """Return the factory, importing it where it is a name.

        Raises:
            PluginError: It cannot be imported; the message names the module and what it lacks.
        """
        if not isinstance(self.factory, str):
            return self.factory
        return load_factory(self.factory, self.name)


class CachePlugin(Plugin):
    """The descriptor of a `strongroom.cache.CacheStore`, for the option `l2` of caching middleware.

    `strongroom_middleware()` gives it, among the descriptors of middleware.
    """

    __slots__ = ()


class RotatorPlugin(Plugin):
    """The descriptor of a `strongroom.rotation.Rotator`, for `rotate: {rotator: {type: …}}`.

    `strongroom_providers()` gives it, among the descriptors of providers; a provider may have the same name.
    """

    __slots__ = ()
