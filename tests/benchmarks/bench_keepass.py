"""What the KeePass provider makes of opening a database again, beside pykeepass."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pykeepass import PyKeePass
from strongroom_keepass import KeePassSecretProvider
from timing import medians, row

_ROUNDS, _SECRETS = 5, 100


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "secrets.kdbx")
        with KeePassSecretProvider(path, "master password") as provider:
            provider.set_secrets({f"app/{number}": "value of a secret" for number in range(_SECRETS)})
            provider.get_secret("app/0")

            def again() -> None:
                path.touch()  # as if another program had written it
                provider.get_secret("app/7")

            def bare() -> None:
                PyKeePass(str(path), "master password").find_entries(path=["app", "7"])

            ours, theirs = medians(_ROUNDS, again, bare)
    return [row("keepass: a second open / pykeepass", ours, theirs, 0.05)]
