"""The key file of a sealed store; the stores themselves are rekeyed in the plugins' tests."""

from __future__ import annotations

import pytest
from strongroom.encryption.keyfiles import MAX_BYTES, next_key_file
from strongroom.encryption.keys import KeyMaterial
from strongroom.errors import ConfigurationError
from strongroom.sealed.key_source import StoreKeySource


def test_the_next_key_stays_out_of_git_as_the_key_does(tmp_path):
    ignored = tmp_path / ".gitignore"
    ignored.write_text("*.key\n")
    source = StoreKeySource("etcd", None, tmp_path / "app.key", [])
    source.create()
    source.next(None)
    assert next_key_file(tmp_path / "app.key").exists()
    assert ignored.read_text() == "*.key\napp.key.*\n"


@pytest.mark.parametrize("text", ["ends with\r", "two lines\nof a log", "x" * MAX_BYTES])
def test_a_next_key_that_no_key_file_can_hold(tmp_path, text):
    """Saved beside the key file, it would keep everybody from the store."""
    source = StoreKeySource("etcd", None, tmp_path / "app.key", [])
    first = source.create()
    with pytest.raises(ConfigurationError, match="cannot be kept in a key file"):
        source.next(KeyMaterial("passphrase", text.encode()))
    assert source.candidates() == [first]
