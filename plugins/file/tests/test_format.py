"""The format is what its page says: a reader made from docs/explanation/file-format.md alone, sharing no code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from strongroom.encryption.keys import generate_key
from strongroom_file import FileSecretProvider


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


class Reader:
    """Reads every version of every key of a store."""

    def __init__(self, path, key):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA application_id").fetchone() == (0x53524D31,)
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
            self.rows = {
                table: dict(connection.execute(f"SELECT id, body FROM {table}"))
                for table in ("header", "root", "node", "history", "value")
            }
        header = self.rows["header"][1]
        assert len(header) == 69
        self.store, salt, fields = header[:16], header[16:32], header[:45]
        assert header[61:] == hashlib.blake2b(header[:61], digest_size=8).digest()
        if header[32] == 1:
            passes, memory, lanes = (number(header[at : at + 4]) for at in (33, 37, 41))
            secret = Argon2id(
                salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory
            ).derive(key.encode())
        else:
            decoded = base64.urlsafe_b64decode(key.removeprefix("srk1_"))
            secret = decoded[:32]
            assert decoded[32:] == hashlib.sha256(b"strongroom key 1\0" + secret).digest()[:4]
        extracted = hmac.digest(salt, secret, "sha256")
        check_key = hmac.digest(extracted, b"strongroom file 1 check\x01", "sha256")
        assert header[45:61] == hmac.digest(check_key, fields, "sha256")[:16]
        self.cipher = AESGCM(hmac.digest(extracted, b"strongroom file 1 data\x01", "sha256"))
        self.found = {}
        root = self.open("root", b"S", 1, None)
        assert max(self.rows["value"]) <= number(root[28:36])
        self.node(number(root[:8]), root[8:24])
        self.secrets = number(root[52:60])
        self.writes(root[60:])

    def open(self, table, kind, row, tag, name=b""):
        body = self.rows[table][row]
        assert tag in {None, body[-16:]}
        return self.cipher.decrypt(body[:12], body[12:], kind + self.store + row.to_bytes(8, "big") + name)

    def node(self, row, tag):
        data = self.open("node", b"N", row, tag)
        count, length = number(data[1:3]), number(data[3:7])
        names = data[7 : 7 + length].split(b"\0") if count else []
        size = 76 if data[0] == 1 else 24
        items = [data[at : at + size] for at in range(7 + length, len(data), size)]
        assert len(names) == len(items) == count
        for name, item in zip(names, items, strict=True):
            if data[0] == 0:
                self.node(number(item[:8]), item[8:])
            else:
                self.entry(name, item)

    def entry(self, name, item):
        key = name.decode()
        versions = []
        if number(item[52:60]):
            history = self.open("history", b"H", number(item[52:60]), item[60:76], name)
            for at in range(0, len(history), 37):
                part = history[at : at + 37]
                versions.append((part[:12], part[12:28], ["pending", "previous"][part[36]]))
        if number(item[4:12]):
            versions.append((item[:12], item[12:28], "current"))
        self.found[key] = {}
        for version, tag, state in versions:
            self.version(key, version, tag, state)

    def version(self, key, version, tag, state):
        row = number(version[4:])
        value = self.open("value", b"V", row, tag, key.encode()).decode()
        self.found[key][f"{version[:4].hex()}-{row}"] = (state, value)

    def writes(self, data):
        count, length = number(data[:2]), number(data[2:6])
        names = data[6 : 6 + length].split(b"\0") if count else []
        items = [data[at : at + 38] for at in range(6 + length, len(data), 38)]
        assert len(names) == len(items) == count
        self.recent = count
        for name, item in zip(names, items, strict=True):
            key = name.decode()
            known = self.found.setdefault(key, {})
            known |= {
                version: ("previous", value)
                for version, (state, value) in known.items()
                if state == "current"
            }
            self.version(key, item[:12], item[12:28], "current")
            previous = [version for version, (state, _) in known.items() if state == "previous"]
            previous.sort(key=lambda version: int(version.split("-")[1]))
            for version in previous[: max(len(known) - number(item[36:38]), 0)]:
                del known[version]


@pytest.mark.parametrize("key", [generate_key(), "a passphrase"], ids=["generated", "passphrase"])
def test_the_page_is_enough_to_read_a_store(tmp_path, key):
    """Keys, values, versions and states come out of the file as the provider tells them."""
    with FileSecretProvider(tmp_path / "store", key, max_versions=3) as provider:
        provider.set_secrets({f"app/{at}/ключ": f"value {at} ö" for at in range(300)})
        for at in range(0, 300, 3):
            provider.set_secret(f"app/{at}/ключ", f"second {at}")
            provider.stage_secret(f"app/{at}/ключ", "")
        provider.stage_secret("only/pending", "not yet")
        provider.delete_secret("app/7/ключ")
        for at in range(5):
            provider.set_secret("app/8/ключ", f"again {at}")
            provider.set_secret("new", f"new {at}")
            for other in range(4):
                provider.set_secret(f"app/{at + 20 * other + 90}/ключ", "again")
        expected = {
            name: {
                version.version: (version.state, provider.get_secret_version(name, version.version))
                for version in provider.list_versions(name)
            }
            for name in [*provider.list_secrets(), "only/pending"]
        }
    reader = Reader(tmp_path / "store", key)
    assert reader.found == expected
    assert reader.recent > 10
    assert 200 < reader.secrets <= 299
