"""The key file of a sealed store; the stores themselves are rekeyed in the plugins' tests."""

from __future__ import annotations

from strongroom.encryption.keyfiles import next_key_file
from strongroom.sealed.key_source import StoreKeySource


def test_the_next_key_stays_out_of_git_as_the_key_does(tmp_path):
    ignored = tmp_path / ".gitignore"
    ignored.write_text("*.key\n")
    source = StoreKeySource("etcd", None, tmp_path / "app.key", [])
    source.create()
    source.next(None)
    assert next_key_file(tmp_path / "app.key").exists()
    assert ignored.read_text() == "*.key\napp.key.*\n"
