"""The encrypted store beside SQLCipher (WAL, synchronous FULL) and beside one Fernet file that is rewritten."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import sqlite3
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from strongroom.encryption.keys import generate_key
from strongroom_file import FileSecretProvider
from timing import medians, row, seconds

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


def turns(count: int, *calls: Callable[[], Any]) -> list[float]:
    """Return the median seconds of each call, taken in turn."""
    return medians(count, *calls)


class Bench:
    """Both stores at one size."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self.chance = random.Random(size)  # the same keys in every run
        self.paths = folder / f"ours-{size}", folder / f"theirs-{size}"
        self.stores = FileSecretProvider(self.paths[0], KEY), SQLCipher(self.paths[1], "passphrase")
        values = {name(number): "v" * 32 for number in range(size)}
        for store in self.stores:
            store.set_secrets(values)

    def known(self) -> str:
        return name(self.chance.randrange(self.size))

    def write(self, store: Any) -> None:
        store.set_secret(self.known(), f"{self.chance.getrandbits(128):032x}")

    def sets(self) -> list[float]:
        ours, theirs = self.stores
        return turns(800, lambda: self.write(ours), lambda: self.write(theirs))

    def sets_in_a_row(self) -> list[float]:
        """Return the same as means of 64 sets, among which the root makes room by bringing writes into the tree."""
        ours, theirs = self.stores
        return medians(12, lambda: self.write(ours), lambda: self.write(theirs), times=64)

    def warm_gets(self) -> list[float]:
        ours, theirs = self.stores
        key = name(self.size // 2)
        return turns(5000, lambda: ours.get_secret(key), lambda: theirs.get_secret(key))

    def gets(self) -> list[float]:
        """Return those of a different key each time, most of which were never read before."""
        ours, theirs = self.stores
        return turns(5000, lambda: ours.get_secret(self.known()), lambda: theirs.get_secret(self.known()))

    def gets_after_others(self) -> list[float]:
        others = FileSecretProvider(self.paths[0], KEY), SQLCipher(self.paths[1], "passphrase")
        key = name(self.size // 2)
        taken: list[list[float]] = [[], []]
        for _ in range(400):
            for at, (writer, reader) in enumerate(zip(others, self.stores, strict=True)):
                self.write(writer)
                taken[at].append(seconds(lambda reader=reader: reader.get_secret(key)))
        for other in others:
            other.close()
        return [statistics.median(one) for one in taken]

    def lists(self) -> float:
        return turns(5, self.stores[0].list_secrets)[0]

    def opens(self) -> list[float]:
        key = name(self.size // 2)

        def opened(make: Callable[[], Any]) -> None:
            store = make()
            store.get_secret(key)
            store.close()

        return turns(
            8,
            lambda: opened(lambda: FileSecretProvider(self.paths[0], KEY)),
            lambda: opened(lambda: SQLCipher(self.paths[1], "passphrase")),
        )

    def close(self) -> None:
        for store in self.stores:
            store.close()


def fernet_rewrite(size: int) -> float:
    """Return the seconds that a set takes where all secrets are one Fernet token in a file."""
    cipher = Fernet(Fernet.generate_key())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "all")
        path.write_bytes(cipher.encrypt(json.dumps({name(n): "v" * 32 for n in range(size)}).encode()))

        def rewrite() -> None:
            values = json.loads(cipher.decrypt(path.read_bytes()))
            values[name(1)] = "w" * 32
            path.write_bytes(cipher.encrypt(json.dumps(values).encode()))

        return turns(3, rewrite)[0]


def gets_among(size: int) -> list[float]:
    """Return what gets of different keys take in stores of `size` secrets."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), size)
        try:
            return bench.gets()
        finally:
            bench.close()


def set_at_once(size: int) -> list[float]:
    """Return what a batch of new secrets takes, and one transaction of SQLite that waits for the disk as well."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(sqlite3.connect(f"{folder}/bare", isolation_level=None)) as bare,
        FileSecretProvider(f"{folder}/ours", KEY) as ours,
    ):
        for step in "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL":
            bare.execute(step).fetchone()
        bare.execute("CREATE TABLE secret (key TEXT PRIMARY KEY, value TEXT)")
        numbers = itertools.count()

        def fresh() -> dict[str, str]:
            return {name(next(numbers)): "v" * 32 for _ in range(size)}

        def insert() -> None:
            bare.execute("BEGIN")
            bare.executemany("INSERT INTO secret VALUES (?, ?)", fresh().items())
            bare.execute("COMMIT")

        return turns(21, lambda: ours.set_secrets(fresh()), insert)


def rows() -> list[dict[str, Any]]:
    """Return the rows, with 100 and with 100,000 secrets, and those that differ with more."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        small, large = Bench(Path(folder), 100), Bench(Path(folder), 100_000)
        small.sets()  # the first ones wait for the log to grow, which the many secrets have done already
        few, _ = small.sets()
        many, cipher = large.sets()
        found += [
            row("store: set among 100,000 / among 100", many, few, 1.5, unit="µs"),
            row("store: set / SQLCipher's, 100,000 secrets", many, cipher, 1.3, unit="µs"),
            row("store: mean of 64 sets / SQLCipher's", *large.sets_in_a_row(), 2, unit="µs"),
            row("store: set / rewriting one Fernet file, 100,000", many, fernet_rewrite(100_000), 0.01),
            row("store: warm get / SQLCipher's, 100,000 secrets", *large.warm_gets(), 2, unit="µs"),
            row(
                "store: get of a different key / SQLCipher's, 100,000 secrets", *large.gets(), 1.5, unit="µs"
            ),
            row("store: get after others wrote / SQLCipher's", *large.gets_after_others(), 5, unit="µs"),
            row("store: open and get / SQLCipher's with a passphrase", *large.opens(), 0.1),
            row("store: list of 100,000 / one second", large.lists(), 1.0, 1.0),
        ]
        small.close()
        large.close()
    found += [
        row(
            f"store: get of a different key / SQLCipher's, {size:,} secrets",
            *gets_among(size),
            1.5,
            unit="µs",
        )
        for size in (20_000, 1_000_000)
    ]
    found.append(row("store: set_secrets of 1,000 / one transaction of SQLite", *set_at_once(1000), 3))
    return found
