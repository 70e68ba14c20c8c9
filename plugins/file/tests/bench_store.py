"""The store beside SQLCipher (WAL, synchronous FULL), run by hand: `python plugins/file/tests/bench_store.py`.

Times are medians of single calls, in microseconds; the two take turns, so that a busy disk is shared fairly.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom.encryption.keys import generate_key
from strongroom_file import FileSecretProvider

KEY = generate_key()


def name(number: int) -> str:
    return f"app/service-{number:06d}/password"


class SQLCipher:
    """The same four operations on an encrypted table."""

    def __init__(self, path: Path, passphrase: str) -> None:
        from sqlcipher3 import dbapi2

        self.connection = dbapi2.connect(str(path), isolation_level=None)
        self.connection.execute(f"PRAGMA key='{passphrase}'")
        self.connection.execute("PRAGMA journal_mode=WAL").fetchone()
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS secret (key TEXT PRIMARY KEY, value TEXT)")
        self.cursor = self.connection.cursor()

    def set_secret(self, key: str, value: str) -> None:
        self.cursor.execute(
            "INSERT INTO secret VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value=excluded.value",
            (key, value),
        )

    def set_secrets(self, values: dict[str, str]) -> None:
        self.cursor.execute("BEGIN")
        for key, value in values.items():
            self.set_secret(key, value)
        self.cursor.execute("COMMIT")

    def get_secret(self, key: str) -> str:
        return self.cursor.execute("SELECT value FROM secret WHERE key=?", (key,)).fetchone()[0]

    def list_secrets(self) -> list[str]:
        return [key for (key,) in self.cursor.execute("SELECT key FROM secret ORDER BY key")]

    def close(self) -> None:
        self.connection.close()


def timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def turns(count: int, *calls: Callable[[], Any]) -> list[float]:
    """Return the median time of each call, taken in turn."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(count):
        for at, call in enumerate(calls):
            taken[at].append(timed(call))
    return [statistics.median(times) for times in taken]


def tell(what: str, ours: float, theirs: float) -> None:
    sys.stdout.write(f"{what:42} {ours:10.1f} {theirs:10.1f} {ours / theirs:6.2f}x\n")


def measure(folder: Path, size: int) -> None:
    sys.stdout.write(f"--- {size} secrets{'store':>34} {'SQLCipher':>10}\n")
    chance = random.Random(size)  # the same keys in every run
    ours_path, theirs_path = folder / f"ours-{size}", folder / f"theirs-{size}"
    ours, theirs = FileSecretProvider(ours_path, KEY), SQLCipher(theirs_path, "passphrase")
    values = {name(number): "v" * 32 for number in range(size)}
    for store in (ours, theirs):
        store.set_secrets(values)

    def write(store: Any, key: Callable[[], str]) -> Callable[[], None]:
        return lambda: store.set_secret(key(), f"{chance.getrandbits(128):032x}")

    def known() -> str:
        return name(chance.randrange(size))

    def unknown() -> str:
        return f"new/{chance.getrandbits(64):x}"

    tell("set, known key", *turns(1000, write(ours, known), write(theirs, known)))
    tell("set, new key", *turns(500, write(ours, unknown), write(theirs, unknown)))
    key = name(size // 2)
    tell("get, warm", *turns(5000, lambda: ours.get_secret(key), lambda: theirs.get_secret(key)))
    tell(
        "get, warm, any key",
        *turns(5000, lambda: ours.get_secret(known()), lambda: theirs.get_secret(known())),
    )
    ours_too, theirs_too = FileSecretProvider(ours_path, KEY), SQLCipher(theirs_path, "passphrase")
    after: list[list[float]] = [[], []]
    for _ in range(500):
        for at, (writer, reader) in enumerate(((ours_too, ours), (theirs_too, theirs))):
            writer.set_secret(known(), "w" * 32)
            after[at].append(timed(lambda reader=reader: reader.get_secret(key)))
    tell("get, first after another process wrote", *map(statistics.median, after))
    tell("list all", *turns(5, ours.list_secrets, theirs.list_secrets))
    for store in (ours, theirs, ours_too, theirs_too):
        store.close()

    def opened(make: Callable[[], Any]) -> None:
        store = make()
        store.get_secret(key)
        store.close()

    tell("open and first get", *turns(10, lambda: opened(lambda: FileSecretProvider(ours_path, KEY)),
                                      lambda: opened(lambda: SQLCipher(theirs_path, "passphrase"))))  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        for number_of_secrets in (100, 10_000, 100_000):
            measure(Path(temporary), number_of_secrets)
