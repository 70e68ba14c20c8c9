"""`EncryptionMiddleware`: what the provider holds is unreadable, bound to its name, and passed on whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom import (
    AESGCMEncryption,
    EncryptionMiddleware,
    FernetEncryption,
    HierarchicalSecretCache,
    KeyRing,
    SecretProviderRegistry,
    TenantContext,
    ValidationMiddleware,
    generate_key,
)
from strongroom.backends import FileSecretProvider, MemorySecretProvider
from strongroom.cache import MemoryCacheStore
from strongroom.errors import ConfigurationError, ConflictError, DecryptionError, SpecError
from strongroom.testing import ProviderConformance, sampled

KEY = generate_key()


@pytest.mark.torture
class TestOverMemory(ProviderConformance):
    """As memory behind encryption, which `make test` runs a sample of."""

    @pytest.fixture
    def provider(self):
        return EncryptionMiddleware(MemorySecretProvider(), AESGCMEncryption(KEY))


@pytest.fixture(scope="class")
def phrases():
    """Two ciphers of one phrase: making a key of a phrase is slow on purpose."""
    return FernetEncryption("a phrase"), FernetEncryption("a phrase")


@sampled(pytest.mark.torture)
class TestOverFile(ProviderConformance):
    @pytest.fixture
    def provider(self, tmp_path, phrases):
        with EncryptionMiddleware(FileSecretProvider(tmp_path / "s", KEY), phrases[0]) as made:
            yield made

    @pytest.fixture
    def reopened(self, provider, tmp_path, phrases):
        with EncryptionMiddleware(FileSecretProvider(tmp_path / "s", KEY), phrases[1]) as made:
            yield made


@pytest.fixture
def inner():
    return MemorySecretProvider()


@pytest.fixture
def provider(inner):
    return EncryptionMiddleware(inner, AESGCMEncryption(KEY))


def test_the_provider_holds_tokens_whatever_way_they_are_written(provider, inner):
    provider.set_secret("a", "hunter2")
    provider.set_secrets({"b": "hunter2"})
    version = provider.set_secret_if("c", "hunter2", None)
    staged = provider.stage_secret("c", "hunter2-next")
    held = [*inner.get_secrets(["a", "b", "c"]).values(), inner.get_secret_version("c", staged)]
    assert len(held) == 4
    assert all(token.startswith("srt1.aes-gcm.") for token in held)
    assert provider.get_secrets(["a", "b", "c"]) == dict.fromkeys("abc", "hunter2")
    assert provider.get_secret_version("c", staged) == "hunter2-next"
    with pytest.raises(ConflictError):
        provider.set_secret_if("c", "x", None)
    assert provider.get_secret_version("c", version) == "hunter2"


def test_a_token_that_was_copied_to_another_name_does_not_decrypt(provider, inner):
    provider.set_secret("a", "hunter2")
    inner.set_secret("b", inner.get_secret("a"))
    with pytest.raises(DecryptionError) as refused:
        provider.get_secret("b")
    assert refused.value.key == "b"
    with pytest.raises(DecryptionError):
        provider.get_secrets(["a", "b"])


def test_what_a_tenant_wrote_is_readable_by_that_tenant_alone(provider):
    with TenantContext("one"):
        provider.set_secret("a", "hunter2")
    with pytest.raises(DecryptionError):
        provider.get_secret("a")
    with TenantContext("two"), pytest.raises(DecryptionError):
        provider.get_secret("a")


def test_values_in_clear_are_read_only_where_migrate_says_so(inner):
    inner.set_secret("a", "in clear")
    strict = EncryptionMiddleware(inner, AESGCMEncryption(KEY))
    with pytest.raises(DecryptionError):
        strict.get_secret("a")
    migrating = EncryptionMiddleware(inner, AESGCMEncryption(KEY), migrate=True)
    assert migrating.get_secret("a") == "in clear"
    migrating.set_secret("a", "in clear")
    assert inner.get_secret("a").startswith("srt1.")
    assert strict.get_secret("a") == "in clear"
    inner.set_secret("b", AESGCMEncryption(generate_key()).encrypt("x"))
    with pytest.raises(DecryptionError):
        migrating.get_secret("b")


def test_older_keys_still_decrypt(inner):
    old, new = AESGCMEncryption(KEY), AESGCMEncryption(generate_key())
    EncryptionMiddleware(inner, old).set_secret("a", "hunter2")
    provider = EncryptionMiddleware(inner, KeyRing(new, old))
    assert provider.get_secret("a") == "hunter2"
    provider.set_secret("a", "hunter2")
    assert EncryptionMiddleware(inner, new).get_secret("a") == "hunter2"


def test_without_a_cipher_the_key_comes_from_the_environment(inner, monkeypatch):
    with pytest.raises(ConfigurationError, match="keygen"):
        EncryptionMiddleware(inner)
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", KEY)
    EncryptionMiddleware(inner).set_secret("a", "hunter2")
    assert EncryptionMiddleware(inner, AESGCMEncryption(KEY)).get_secret("a") == "hunter2"


def test_rules_for_values_inside_encryption_are_warned_of(inner):
    with pytest.warns(UserWarning, match="ciphertext"):
        EncryptionMiddleware(ValidationMiddleware(inner, max_length=3), AESGCMEncryption(KEY))
    EncryptionMiddleware(ValidationMiddleware(inner, key_pattern="a.*"), AESGCMEncryption(KEY))


FRAME = """
version: 1
pipelines:
  app:
    provider: {{type: file, file_path: secrets.enc, key_file: store.key}}
    middleware: [{}]
  keys:
    provider: {{type: env, prefix: "K_"}}
default: app
"""


def registry(folder, middleware):
    path = Path(folder, "strongroom.yaml")
    path.write_text(FRAME.format(middleware))
    return SecretProviderRegistry(path)


def test_keys_come_from_text_a_variable_a_file_and_another_pipeline(tmp_path, monkeypatch):
    (tmp_path / "app.key").write_text(KEY + "\n")
    monkeypatch.setenv("APP_KEY", KEY)
    monkeypatch.setenv("K_APP", KEY)
    sources = [KEY, "${env:APP_KEY}", "${file:./app.key}", "${secret:keys:app}"]
    for number, source in enumerate(sources):
        with registry(tmp_path, f"{{type: encryption, key: '{source}'}}") as made:
            made.set_secret(f"k/{number}", "hunter2")
            assert [made.get_secret(f"k/{one}") for one in range(number + 1)] == ["hunter2"] * (number + 1)


def test_algorithms_older_keys_and_a_cipher_of_its_own(tmp_path):
    other = generate_key()
    with registry(tmp_path, f"{{type: encryption, algorithm: chacha20, key: {KEY}}}") as made:
        made.set_secret("a", "hunter2")
    ring = f"{{type: encryption, algorithm: chacha20, key: {other}, older_keys: ['{KEY}']}}"
    with registry(tmp_path, ring) as made:
        assert made.get_secret("a") == "hunter2"
    cipher = "{type: encryption, cipher: {type: chacha20, key: '${file:k}'}}"
    (tmp_path / "k").write_text(KEY)
    with registry(tmp_path, cipher) as made:
        assert made.get_secret("a") == "hunter2"


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ("{type: encryption, algorithm: aes-gmc, key: x}", "did you mean 'aes-gcm'?"),
        ("{type: encryption, key: x, cipher: {type: fernet, key: y}}", "not both"),
        ("{type: encryption, cipher: {type: fernt, key: y}}", "did you mean 'fernet'?"),
        ("{type: encryption, cipher: {type: fernet, kei: y}}", "did you mean 'key'?"),
        ("{type: encryption, cipher: {key: y}}", "needs its `type`"),
        ("{type: encryption, cipher: chacha20}", "needs its `type`"),
        ("{type: encryption, cipher: []}", "needs its `type`"),
        ("{type: encryption, key: x}, {type: validation, max_length: 3}", "would see ciphertext"),
        ("{type: encryption, key: '${env:NOPE}'}", "NOPE is not set"),
        ("{type: encryption, cipher: {type: fernet, key: '${env:NOPE}'}}", "NOPE is not set"),
    ],
)
def test_what_is_wrong_is_told_at_load(tmp_path, middleware, expected):
    with pytest.raises(SpecError) as refused:
        registry(tmp_path, middleware)
    assert expected in str(refused.value)
    assert str(refused.value).startswith(f"{tmp_path}/strongroom.yaml:6:")


def test_validation_around_encryption_is_right(tmp_path):
    with registry(tmp_path, f"{{type: validation, max_length: 9}}, {{type: encryption, key: {KEY}}}") as made:
        made.set_secret("a", "hunter2")
        assert made.get_secret("a") == "hunter2"


def test_naming_a_cipher_loads_no_cryptography(tmp_path):
    path = tmp_path / "strongroom.yaml"
    path.write_text(FRAME.format(f"{{type: encryption, key: {KEY}}}"))
    code = "import sys; from strongroom.spec import load_plan; load_plan(sys.argv[1]); print('cryptography' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "make",
    [
        lambda given: EncryptionMiddleware(MemorySecretProvider(), given),
        KeyRing,
        lambda given: KeyRing(AESGCMEncryption(generate_key()), given),
        lambda given: HierarchicalSecretCache(encryption=given),
        lambda given: HierarchicalSecretCache(l2=MemoryCacheStore(), encryption=given),
    ],
    ids=["middleware", "ring", "older", "cache", "shared cache"],
)
def test_what_is_no_cipher_is_refused(make):
    """The text of a key, say: a ring would not decrypt, and a cache would leave its second level unused."""
    with pytest.raises(TypeError, match="a str is not a cipher"):
        make("a passphrase")
