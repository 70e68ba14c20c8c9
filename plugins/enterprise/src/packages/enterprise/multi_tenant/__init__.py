"""The names of `strongroom` about tenants under the import path `packages.enterprise.multi_tenant`."""

from __future__ import annotations

from packages.enterprise.secrets._forward import forward

__getattr__, __dir__ = forward(__name__, "strongroom")
