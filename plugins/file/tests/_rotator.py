"""Rotates in the store of a folder, in processes that die or meet."""

import sys
from pathlib import Path

from strongroom.testing.rotation import begin_at_once, kill_at_every_step
from strongroom_file import FileSecretProvider

work, folder, times = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])


def make():
    return FileSecretProvider(folder / "secrets.enc", key_file=folder / "app.key")


own = folder / "own"
own.mkdir()
if work == "die":
    sys.stdout.write(str(kill_at_every_step(make, own, times=times)))
else:
    sys.stdout.write(" ".join(begin_at_once(make, own, processes=times)))
with make() as provider:
    assert provider.verify() == []
