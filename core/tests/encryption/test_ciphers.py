"""Tokens: what goes in comes out, and nothing else does."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import threading

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from strongroom import (
    AESGCMEncryption,
    ChaCha20Encryption,
    FernetEncryption,
    KeyRing,
    TenantContext,
    generate_key,
)
from strongroom.encryption import ciphers, keys
from strongroom.encryption.tokens import encoded, parse
from strongroom.errors import ConfigurationError, DecryptionError, ValidationError

KEY = "srk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh-nA0tE"
STANDARD = base64.urlsafe_b64encode(bytes(range(32))).decode()
KNOWN = {
    "aes-gcm": "srt1.aes-gcm.cc8fdd27ead620f1.AHo-yE-TrhDGNoqW-NhJRYjeNK5k_YOGweQfNIln4-qGcVc_qWv2igLAjprhewLTaIDHRwD2MeQ",
    "chacha20": "srt1.chacha20.cc8fdd27ead620f1.AEszWx8gqfptk3H0v99YzxzycLqGnddkBlFqhaoMnIrCvhUtbDtXVm8yObjUZWFxxWPc4DjtmTc",
    "fernet": "srt1.fernet.cc8fdd27ead620f1.ALnm7N5UXXOp1UytxK12kQ6AAAAAAGsGivCkdVz4wngGyzGa16MyRUUKbYjC6jywrx2KfeMkz7L2SLKfTPPSvtEQebTDZm3WeP8M_7M_Q95Pa9zrrGeCY4vT",
    "passphrase": "srt1.aes-gcm.db8c061838f2d60d.AQNABFmL7mvqkrGUfYrmLzeZUZYgg-mDAAkZjePdbPeUbVTOWFbKQ2lDk-A-V-1CIR8c5XsavEmg6v-m8l-HeWzY85m03v55LOX9",
    "tenant": "srt1.aes-gcm.cc8fdd27ead620f1.AMRzy82wfwBYcH3JHWLcqQsNFB6kN9ff7d_7S_6D_YLnDnmSh1cmSOr1fmMat6hDrF3X_aTo8pA",
}
CIPHERS = [AESGCMEncryption, ChaCha20Encryption, FernetEncryption]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture(params=CIPHERS, ids=lambda one: one.algorithm)
def cipher(request):
    return request.param


@pytest.fixture
def key():
    return generate_key()


@settings(max_examples=40)
@given(st.text(), st.binary(max_size=64), st.sampled_from(CIPHERS))
def test_what_goes_in_comes_out(text, context, cipher):
    made = cipher(bytes(32))
    assert made.decrypt(made.encrypt(text, context=context), context=context) == text


def test_a_token_names_format_algorithm_and_key_and_is_safe_in_a_url(cipher, key):
    token = cipher(key).encrypt("value", context=b"c")
    form, algorithm, key_id, data = token.split(".")
    assert (form, algorithm, len(key_id)) == ("srt1", cipher.algorithm, 16)
    assert set(data) <= set(ALPHABET)
    assert cipher(key).encrypt("value", context=b"c") != token
    assert cipher(generate_key()).encrypt("value").split(".")[2] != key_id


def test_another_key_context_or_algorithm_decrypts_nothing(cipher, key):
    token = cipher(key).encrypt("hunter2", context=b"c")
    others = [one for one in CIPHERS if one is not cipher]
    for made, context in (
        (cipher(generate_key()), b"c"),
        (cipher(key), b""),
        (cipher(key), b"d"),
        *((other(key), b"c") for other in others),
    ):
        with pytest.raises(DecryptionError) as refused:
            made.decrypt(token, context=context)
        assert "hunter2" not in f"{refused.value}{refused.value.__context__!r}"


def every_change(token):
    """Yield a token for each bit of its text flipped, each of its beginnings, and longer ones."""
    for place, character in enumerate(token):
        for bit in range(7):
            yield token[:place] + chr(ord(character) ^ (1 << bit)) + token[place + 1 :]
    yield from (token[:length] for length in range(len(token)))
    yield from (token + more for more in ("A", "=", "==", ".", "\n", " ", "AAAA", token))
    yield from (f"{before}{token}" for before in ("A", " ", "\n", "="))


@pytest.mark.parametrize("context", [b"", b"context"])
@pytest.mark.parametrize("form", [KEY, STANDARD])
def test_every_bit_flip_truncation_and_extension_is_refused(cipher, form, context):
    made = cipher(form)
    token = made.encrypt("a value", context=context)
    assert made.decrypt(token, context=context) == "a value"
    count = 0
    for changed in every_change(token):
        with pytest.raises(DecryptionError):
            made.decrypt(changed, context=context)
        count += 1
    assert count > 800


def test_spare_bits_of_the_last_character_are_no_second_way_to_write_a_token(cipher, key):
    made = cipher(key)
    for length in range(1, 5):
        token = made.encrypt("x" * length)
        for last in ALPHABET.replace(token[-1], ""):
            with pytest.raises(DecryptionError):
                made.decrypt(token[:-1] + last)


@given(st.text(max_size=80))
def test_rubbish_is_refused_and_nothing_else_happens(text):
    for cipher in CIPHERS:
        with pytest.raises(DecryptionError):
            cipher(bytes(32)).decrypt(text)
        with pytest.raises(DecryptionError):
            cipher(bytes(32)).decrypt(f"srt1.{cipher.algorithm}.0123456789abcdef.{text}")


def test_the_format_does_not_change():
    """Tokens that an earlier version wrote: whatever changes, these must be read."""
    for cipher, token in (
        (AESGCMEncryption, KNOWN["aes-gcm"]),
        (ChaCha20Encryption, KNOWN["chacha20"]),
        (FernetEncryption, KNOWN["fernet"]),
    ):
        assert cipher(KEY).decrypt(token, context=b"name") == "known value"
    with TenantContext("acme"):
        assert AESGCMEncryption(KEY).decrypt(KNOWN["tenant"], context=b"name") == "known value"
    assert AESGCMEncryption("a passphrase").decrypt(KNOWN["passphrase"]) == "known value"


def test_the_format_page_alone_is_enough_to_read_a_token():
    """The steps of docs/explanation/encryption.md, with nothing of strongroom's own."""
    import hmac
    import struct

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    def parts(*given):
        return b"".join(struct.pack(">Q", len(one)) + one for one in given)

    text = KNOWN["aes-gcm"].split(".")
    data = base64.urlsafe_b64decode(text[3] + "=" * (-len(text[3]) % 4))
    secret = bytes(range(32))
    assert hmac.digest(secret, b"strongroom token 1 key id", "sha256")[:8].hex() == text[2]
    head, salt, nonce, sealed = data[:1], data[1:17], data[17:29], data[29:]
    info = parts(b"strongroom token 1", b"aes-gcm") + salt + parts(b"\0")
    subkey = hmac.digest(secret, info + b"\1", "sha256")
    bound = parts(b"srt1.", b"aes-gcm", text[2].encode(), head, b"name")
    assert AESGCM(subkey).decrypt(nonce, sealed, bound) == b"known value"


def test_a_standard_fernet_token_has_one_text():
    """Fernet itself reads several of these."""
    cipher = FernetEncryption(STANDARD)
    for length in range(40):
        token = cipher.encrypt("x" * length)
        bare = token.rstrip("=")
        for other in {bare + "=" * more for more in range(9)} - {token} | {
            "\n" + token,
            token + " ",
            "=" + token,
        }:
            with pytest.raises(DecryptionError):
                cipher.decrypt(other)
            assert not cipher.wrote(other)
        assert cipher.decrypt(token) == "x" * length


def test_standard_fernet_keys_give_standard_tokens():
    made, standard = FernetEncryption(STANDARD), Fernet(STANDARD)
    assert standard.decrypt(made.encrypt("value")) == b"value"
    assert made.decrypt(standard.encrypt(b"value").decode()) == "value"
    assert FernetEncryption(STANDARD.encode()).decrypt(made.encrypt("value")) == "value"
    assert made.encrypt("value", context=b"c").startswith("srt1.fernet.")
    for context in (b"c",):
        with pytest.raises(DecryptionError):
            made.decrypt(standard.encrypt(b"value").decode(), context=context)
    with pytest.raises(DecryptionError):
        FernetEncryption(KEY).decrypt(standard.encrypt(b"value").decode())


@pytest.mark.parametrize("key", [KEY, STANDARD])
@pytest.mark.parametrize("context", [None, "", "name"])
def test_a_context_that_is_not_bytes_is_never_taken_for_none(cipher, key, context):
    """A token that is bound to nothing would decrypt under every name."""
    with pytest.raises(TypeError):
        cipher(key).encrypt("value", context=context)


@pytest.mark.parametrize(
    "bad", ["", b"", b"x" * 31, b"x" * 33, "srk1_", KEY[:-1], KEY + "A", KEY[:-1] + "B", 7, None]
)
def test_what_is_no_key_is_refused_at_construction(cipher, bad):
    with pytest.raises(ConfigurationError) as refused:
        cipher(bad)
    if isinstance(bad, str) and len(bad) > 6:
        assert bad not in str(refused.value)


def count_derivations(monkeypatch):
    """Return a list that grows with each derivation."""
    derived = []

    def derive(*given):  # as Argon2id does, and cheaply; that it is Argon2id, others test
        derived.append(given)
        return hashlib.blake2b(repr(given).encode(), digest_size=32).digest()

    monkeypatch.setattr(keys, "_argon2id", derive)
    return derived


def test_a_passphrase_is_derived_once_and_its_id_comes_from_the_derived_key(cipher, monkeypatch):
    derived = count_derivations(monkeypatch)
    made = cipher("a passphrase of the test")
    tokens = [made.encrypt(str(number), context=b"c") for number in range(5)]
    again = cipher("a passphrase of the test")
    assert [again.decrypt(token, context=b"c") for token in tokens] == ["0", "1", "2", "3", "4"]
    assert len(derived) == 1
    other = cipher("a passphrase of the test").encrypt("x", context=b"c")
    assert other.split(".")[2] != tokens[0].split(".")[2]  # another salt, another key, another id


def test_a_passphrase_is_derived_once_for_each_of_many_writers_salts(cipher, monkeypatch):
    """Also where more processes have written than derivations are remembered of a whole process."""
    derived = count_derivations(monkeypatch)
    tokens = [cipher("a passphrase of the test").encrypt(str(number)) for number in range(100)]
    reader = cipher("a passphrase of the test")
    for _ in range(2):
        assert [reader.decrypt(token) for token in tokens] == [str(number) for number in range(100)]
    assert len(derived) <= 200


def forged(*, passes, mib, lanes):
    data = bytes([1, passes, mib % 256, lanes]) + bytes(16) + bytes(16) + bytes(40)
    return "srt1.aes-gcm.0123456789abcdef." + base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "asked",
    [
        {"passes": 7, "mib": 64, "lanes": 4},
        {"passes": 255, "mib": 256, "lanes": 4},
        {"passes": 3, "mib": 64, "lanes": 5},
        {"passes": 1, "mib": 64, "lanes": 4},
        {"passes": 3, "mib": 18, "lanes": 1},
        {"passes": 3, "mib": 64, "lanes": 0},
    ],
)
def test_what_a_header_asks_for_is_bounded_before_anything_is_derived(asked, monkeypatch):
    monkeypatch.setattr(keys, "_argon2id", lambda *_: pytest.fail("it was derived"))
    with pytest.raises(DecryptionError):
        AESGCMEncryption("a passphrase").decrypt(forged(**asked))


def test_a_tenants_tokens_are_nobody_elses(cipher):
    for form in (KEY, STANDARD):
        made = cipher(form)
        with TenantContext("one"):
            token = made.encrypt("value")
            assert made.decrypt(token) == "value"
        free = made.encrypt("value")
        with pytest.raises(DecryptionError):
            made.decrypt(token)
        with TenantContext("two"):
            for other in (token, free):
                with pytest.raises(DecryptionError):
                    made.decrypt(other)


def pairs(chance, count):
    for _ in range(count):
        yield [chance.randbytes(chance.randrange(4)) for _ in range(chance.randrange(1, 5))]


def no_two_alike(count):
    chance = random.Random(5)
    seen = {}
    for parts in pairs(chance, count):
        text = encoded(parts)
        assert seen.setdefault(text, parts) == parts
    whole = b"one two three"
    cuts = {encoded([whole[:cut], whole[cut:]]) for cut in range(len(whole))}
    assert len(cuts) == len(whole)


def test_no_two_contexts_are_encoded_alike():
    no_two_alike(2_000)


@pytest.mark.torture
def test_no_two_contexts_of_twenty_thousand_are_encoded_alike():
    no_two_alike(20_000)


def test_a_data_key_is_replaced_before_it_is_used_too_often(cipher, key, monkeypatch):
    monkeypatch.setattr(ciphers, "_TOKENS_A_KEY", 10)
    made = cipher(key)
    tokens = [made.encrypt(str(number), context=b"c") for number in range(35)]
    salts = [parse(token).salt for token in tokens]
    assert len(set(salts)) == 4
    assert [made.decrypt(token, context=b"c") for token in tokens] == [str(number) for number in range(35)]


def test_threads_and_a_forked_child_write_what_everybody_reads(cipher, key):
    made = cipher(key)
    first = made.encrypt("from the parent", context=b"c")
    tokens = []
    workers = [
        threading.Thread(target=lambda: tokens.extend(made.encrypt("x", context=b"c") for _ in range(50)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(
            writing, f"{made.decrypt(first, context=b'c')} {made.encrypt('child', context=b'c')}".encode()
        )
        os._exit(0)
    os.waitpid(child, 0)
    value, _, token = os.read(reading, 1000).decode().rpartition(" ")
    os.close(reading)
    os.close(writing)
    assert value == "from the parent"
    assert made.decrypt(token, context=b"c") == "child"
    assert len(set(tokens)) == 200


def test_what_is_no_text_is_refused(cipher, key):
    with pytest.raises(TypeError):
        cipher(key).encrypt(b"bytes")
    with pytest.raises(TypeError):
        cipher(key).decrypt(None)
    with pytest.raises(ValidationError):
        cipher(key).encrypt("\ud800")
    assert key not in repr(cipher(key))


def test_a_ring_encrypts_with_the_first_and_decrypts_with_any():
    old, new, standard = (
        AESGCMEncryption(generate_key()),
        ChaCha20Encryption("a phrase"),
        FernetEncryption(STANDARD),
    )
    ring = KeyRing(new, old, standard)
    tokens = [cipher.encrypt("value") for cipher in (new, old, standard)]
    assert [ring.decrypt(token) for token in tokens] == ["value"] * 3
    assert [ring.needs_rekey(token) for token in tokens] == [False, True, True]
    assert not ring.needs_rekey(ring.encrypt("x"))
    assert not KeyRing(standard, old).needs_rekey(tokens[2])
    for refused in (AESGCMEncryption(generate_key()).encrypt("x"), "rubbish", ""):
        with pytest.raises(DecryptionError):
            ring.decrypt(refused)
        assert ring.needs_rekey(refused)


def test_a_token_is_of_the_tenant_for_whom_it_was_begun(monkeypatch):
    """The block ends as the salt is drawn; every further token of that tenant would be unreadable, too."""

    def in_block():
        with TenantContext("a"):
            yield

    def drawn(size):
        generator.close()
        return bytes(size)

    cipher = AESGCMEncryption(generate_key())
    with TenantContext("b"), monkeypatch.context() as patch:
        generator = in_block()
        next(generator)
        patch.setattr("strongroom.encryption.ciphers.os.urandom", drawn)
        first = cipher.encrypt("value")
    with TenantContext("a"):
        assert cipher.decrypt(first) == "value"
        assert cipher.decrypt(cipher.encrypt("value")) == "value"
