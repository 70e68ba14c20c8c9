"""The names of `strongroom` under the import path `packages.enterprise.secrets`."""

from __future__ import annotations

from packages.enterprise.secrets._forward import forward

__getattr__, __dir__ = forward(__name__, "strongroom", ("backends", "encryption", "middleware"))
