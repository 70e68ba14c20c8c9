"""Rotates in a folder of files, which has no conditional writes, in processes that meet."""

import sys
import urllib.parse
from pathlib import Path

from strongroom.errors import SecretNotFoundError
from strongroom.providers import BaseProvider
from strongroom.testing.rotation import begin_at_once
from strongroom_redis import RedisCacheStore

url, folder, processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])


class Folder(BaseProvider):
    """Just the four methods, over files."""

    def _path(self, key):
        return folder / "secrets" / urllib.parse.quote(key, safe="")

    def get_secret(self, key):
        try:
            return self._path(key).read_text()
        except FileNotFoundError:
            raise SecretNotFoundError(key) from None

    def set_secret(self, key, value):
        self._path(key).write_text(value)

    def delete_secret(self, key):
        self._path(key).unlink()

    def list_secrets(self, prefix=""):
        names = [urllib.parse.unquote(path.name) for path in (folder / "secrets").iterdir()]
        return sorted(name for name in names if name.startswith(prefix))


(folder / "secrets").mkdir()
(folder / "own").mkdir()
lock = RedisCacheStore(url, timeout_seconds=10)
sys.stdout.write(" ".join(begin_at_once(Folder, folder / "own", processes=processes, lock=lock)))
