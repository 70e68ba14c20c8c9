"""The names of `strongroom.encryption` under the import path `packages.enterprise.secrets.encryption`."""

from __future__ import annotations

from packages.enterprise.secrets._forward import forward

__getattr__, __dir__ = forward(__name__, "strongroom.encryption")
