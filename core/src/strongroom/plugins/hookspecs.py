"""The four hooks through which plugins add components.

A plugin is a module that an entry point of the group `strongroom` names. It implements one or more of
these hooks, each marked with `strongroom.hookimpl`:

```python
import strongroom
from strongroom_acme.config import AcmeConfig

@strongroom.hookimpl
def strongroom_providers():
    yield strongroom.Plugin(
        name="acme",
        summary="Secrets in Acme.",
        config=AcmeConfig,
        factory="strongroom_acme.provider:AcmeProvider",
    )
```

pluggy registers components and nothing else: no hook is called on the path of a read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from strongroom.plugins import Plugin

__all__ = [
    "hookimpl",
    "hookspec",
    "strongroom_encryption",
    "strongroom_hooks",
    "strongroom_middleware",
    "strongroom_providers",
]

hookspec = pluggy.HookspecMarker("strongroom")
hookimpl = pluggy.HookimplMarker("strongroom")


@hookspec
def strongroom_providers() -> Iterable[Plugin]:
    """Return descriptors of providers; the factory takes the config's fields as keyword arguments.

    An argument has the name that the option has in the spec: the alias of a field that has one. The hook
    also returns descriptors of rotators (`strongroom.plugins.RotatorPlugin`).
    """
    return ()


@hookspec
def strongroom_middleware() -> Iterable[Plugin]:
    """Return descriptors of middleware; the factory takes the inner provider first."""
    return ()


@hookspec
def strongroom_hooks() -> Iterable[Plugin]:
    """Return descriptors of hooks; the factory returns a `strongroom.SecretHook`."""
    return ()


@hookspec
def strongroom_encryption() -> Iterable[Plugin]:
    """Return descriptors of ciphers; the factory returns a `strongroom.encryption.Encryption`."""
    return ()
