"""What other tools give or take: tokens of bytes, plaintexts that are not text, and pickles of ciphers."""

from __future__ import annotations

import base64
import copy
import pickle

import pytest
from cryptography.fernet import Fernet
from strongroom import AESGCMEncryption, ChaCha20Encryption, FernetEncryption, KeyRing, generate_key
from strongroom.backends import MemorySecretProvider
from strongroom.encryption import ciphers
from strongroom.errors import (
    ConfigurationError,
    DecryptionError,
    EncryptionError,
)
from strongroom.middleware import EncryptionMiddleware
from strongroom.middleware.encryption import make_encryption_middleware

BINARY = b"\xffbinary-secret-of-another-tool-hunter2"
FERNET = base64.urlsafe_b64encode(bytes(range(32)))
CIPHERS = [AESGCMEncryption, ChaCha20Encryption, FernetEncryption]


@pytest.fixture(params=CIPHERS, ids=lambda one: one.algorithm)
def cipher(request):
    return request.param


def chain_of(error):
    """Return the error and all that led to it, with every attribute, as text."""
    pieces = []
    while error is not None:
        pieces.append(
            f"{error!r}{error}{vars(error) if hasattr(error, '__dict__') else ''}{getattr(error, 'object', '')!r}"
        )
        error = error.__cause__ or error.__context__
    return "".join(pieces)


def refuses_without_showing(read):
    with pytest.raises(DecryptionError, match="not UTF-8 text") as caught:
        read()
    assert "hunter2" not in chain_of(caught.value)
    assert not isinstance(caught.value, ValueError)


def test_a_standard_token_of_bytes_that_are_not_text():
    """Another tool encrypted them under the same Fernet key: a clear error without the bytes."""
    token = Fernet(FERNET).encrypt(BINARY).decode()
    refuses_without_showing(lambda: FernetEncryption(FERNET).decrypt(token))
    ring = KeyRing(FernetEncryption(generate_key()), FernetEncryption(FERNET))
    refuses_without_showing(lambda: ring.decrypt(token))


def test_a_token_of_ours_with_bytes_that_are_not_text(cipher, monkeypatch):
    """As a program with the key could make one."""
    made = cipher(FERNET)
    with monkeypatch.context() as patched:
        patched.setattr(ciphers, "_bytes_of", lambda _: BINARY)
        token = made.encrypt("", context=b"c")
    refuses_without_showing(lambda: made.decrypt(token, context=b"c"))


def test_the_middleware_names_the_key():
    """The error of a value in a store says which secret it is."""
    store = MemorySecretProvider()
    store.set_secret("theirs", Fernet(FERNET).encrypt(BINARY).decode())
    with pytest.raises(DecryptionError) as caught:
        EncryptionMiddleware(store, FernetEncryption(FERNET)).get_secret("theirs")
    assert caught.value.key == "theirs"
    assert "hunter2" not in chain_of(caught.value)


def test_tokens_may_be_bytes(cipher):
    """Fernet's own are; so are what a file or a column of bytes holds."""
    made = cipher(FERNET)
    for context in (b"", b"c"):
        token = made.encrypt("value", context=context).encode()
        assert made.decrypt(token, context=context) == "value"
        assert made.decrypt(bytearray(token), context=context) == "value"
        assert KeyRing(made).decrypt(token, context=context) == "value"
        assert made.wrote(token)
        assert not KeyRing(made).needs_rekey(token)
    for rubbish in (b"\xff\xfe", "tokén".encode(), b""):
        with pytest.raises(DecryptionError):
            made.decrypt(rubbish)
    for wrong in (None, 7, ["token"]):
        with pytest.raises(TypeError, match="a token is text or bytes"):
            made.decrypt(wrong)


@pytest.mark.parametrize(
    "key", [generate_key(), FERNET, "a passphrase of mine"], ids=["raw", "fernet", "phrase"]
)
def test_ciphers_are_not_pickled(cipher, key):
    """The key would be in the pickle. The error says so, before and after the first use."""
    made = cipher(key)
    for one in (made, KeyRing(made), made._material):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError, match="holds a key and cannot be pickled"):
                pickle.dumps(one, protocol)
    assert copy.copy(made) is made
    assert copy.deepcopy([made])[0] is made


def test_an_older_key_may_be_weak_and_encrypts_nothing(cipher):
    """A passphrase that is refused today still reads what it wrote, and leads away from it."""
    with pytest.raises(ConfigurationError, match="at least 8"):
        cipher("short")
    older = cipher("short", older=True)
    with pytest.raises(EncryptionError, match="only decrypts"):
        older.encrypt("value", context=b"c")
    writer = cipher("short", older=True)
    writer._older = False  # as it was made before such keys were refused
    token = writer.encrypt("value", context=b"c")
    assert older.decrypt(token, context=b"c") == "value"
    ring = KeyRing(cipher(FERNET), older)
    assert ring.decrypt(token, context=b"c") == "value"
    assert ring.needs_rekey(token)


def test_rekeying_leads_away_from_a_weak_key():
    """`older_keys` of a spec take what `key` refuses; after a rekey they can go."""
    store = MemorySecretProvider()
    weak = f"{FERNET.decode()}\n"
    with pytest.raises(ConfigurationError, match="a Fernet key with a line end around it"):
        make_encryption_middleware(store, key=weak)
    old = make_encryption_middleware(store, key=generate_key(), older_keys=[weak])
    writer = old._cipher.older[0]
    writer._older = False
    EncryptionMiddleware(store, writer).set_secret("k", "value")
    key = generate_key()
    assert make_encryption_middleware(store, key=key, older_keys=[weak]).rekey() == 1
    assert make_encryption_middleware(store, key=key).get_secret("k") == "value"
