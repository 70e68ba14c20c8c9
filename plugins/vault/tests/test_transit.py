"""Encryption by the transit engine of a real server: tokens, what they are bound to, key versions, errors."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import traceback
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom import (
    AESGCMEncryption,
    EncryptionMiddleware,
    KeyRing,
    SecretProviderRegistry,
    SecretRotation,
    TenantContext,
    generate_key,
)
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    DecryptionError,
    PermissionDeniedError,
    StrongroomError,
    ValidationError,
)
from strongroom.testing.faults import FaultProxy
from strongroom_memory import MemorySecretProvider
from strongroom_vault.transit import VaultTransitEncryption

KEY = "database/password"
VALUE = "a-value-that-no-message-may-tell"


@pytest.fixture(params=[False, True], ids=["plain", "derived"])
def derived(request):
    return request.param


@pytest.fixture
def engine(server):
    name = f"transit-{uuid.uuid4()}"
    server.client.sys.enable_secrets_engine("transit", path=name)
    yield name
    server.client.sys.disable_secrets_engine(name)


@pytest.fixture
def make(server, engine):
    """Return a function that makes ciphers, each with its key made at the server unless told otherwise."""
    made = []

    def cipher(name="app", *, derived=False, key_type="aes256-gcm96", create=True, **options):
        if create:
            server.client.secrets.transit.create_key(
                name, derived=derived, key_type=key_type, mount_point=engine
            )
        options = {"token": server.token, "mount_point": engine, "derived": derived} | options
        made.append(VaultTransitEncryption(options.pop("url", server.url), name, **options))
        return made[-1]

    yield cipher
    for one in made:
        one.close()


def rotate(server, engine, name="app"):
    server.client.secrets.transit.rotate_key(name, mount_point=engine)


# --- tokens ---


def test_values_come_back(make, derived):
    cipher = make(derived=derived)
    for value in ("", "x", VALUE, "zwei\nZeilen", "\U0001f511\0\x7f", "y" * 100_000):
        token = cipher.encrypt(value, context=b"context")
        assert token.startswith("vault:v1:")
        assert value not in token or len(value) < 2
        assert cipher.decrypt(token, context=b"context") == value
    assert cipher.encrypt(VALUE) != cipher.encrypt(VALUE)


def test_a_token_is_bound_to_its_context_and_tenant(make, derived):
    cipher = make(derived=derived)
    with TenantContext("one"):
        token = cipher.encrypt(VALUE, context=b"a")
        assert cipher.decrypt(token, context=b"a") == VALUE
        with pytest.raises(DecryptionError):
            cipher.decrypt(token, context=b"b")
        with pytest.raises(DecryptionError):
            cipher.decrypt(token)
    for tenant in ("two", "ON", "onea"):
        with TenantContext(tenant), pytest.raises(DecryptionError):
            cipher.decrypt(token, context=b"a")
    with pytest.raises(DecryptionError):
        cipher.decrypt(token, context=b"a")
    with pytest.raises(DecryptionError):
        cipher.decrypt(cipher.encrypt(VALUE, context=b"oneab"), context=b"ab")


@pytest.mark.parametrize("rounds", [40, pytest.param(2000, marks=pytest.mark.torture)])
def test_a_changed_token_is_refused(make, derived, rounds):
    cipher = make(derived=derived)
    token = cipher.encrypt(VALUE, context=b"a")
    head, _, body = token.rpartition(":")
    data = base64.b64decode(body)

    @settings(max_examples=rounds, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(data) * 8 - 1))
    def flipped(bit):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError):
            cipher.decrypt(f"{head}:{base64.b64encode(changed).decode()}", context=b"a")

    flipped()
    others = ["", "vault:", "vault:v1:", "vault:v0:AAAA", f"{token} ", token[:-4], f"{token}AAAA"]
    for text in [*others, token.replace("v1", "v2"), "srt1.aes-gcm.00", token.upper()]:
        with pytest.raises(DecryptionError):
            cipher.decrypt(text, context=b"a")


def test_many_go_in_one_request(make, server, derived):
    with FaultProxy(int(server.url.rpartition(":")[2])) as wire:
        cipher = make(derived=derived, url=f"http://127.0.0.1:{wire.port}")
        items = [(f"value {number}", str(number).encode()) for number in range(300)]
        tokens = cipher.encrypt_many(items)
        pairs = [(token, context) for token, (_, context) in zip(tokens, items, strict=True)]
        assert cipher.decrypt_many(pairs) == [value for value, _ in items]
        with pytest.raises(DecryptionError):
            cipher.decrypt_many([*pairs[:5], (tokens[6], b"7")])
        assert cipher.encrypt_many([]) == cipher.decrypt_many([]) == []


def test_many_long_values_go_in_several_requests(make, server):
    """Together they are longer than what the server, or a proxy before it, takes."""
    with FaultProxy(int(server.url.rpartition(":")[2])) as wire:
        cipher = make(url=f"http://127.0.0.1:{wire.port}")
        items = [(f"{number}" * 400_000, str(number).encode()) for number in range(3)]
        items += [("short", b"a"), ("short", b"b")]
        before = wire.round_trips
        tokens = cipher.encrypt_many(items)
        assert wire.round_trips - before == 3
        pairs = [(token, context) for token, (_, context) in zip(tokens, items, strict=True)]
        assert cipher.decrypt_many(pairs) == [value for value, _ in items]


# --- versions of the key ---


def test_a_rotated_key_decrypts_what_it_wrote_and_tells_what_is_old(make, server, engine, derived):
    cipher = make(derived=derived)
    old = cipher.encrypt(VALUE, context=b"a")
    assert not cipher.needs_rekey(old)
    rotate(server, engine)
    cipher = make(derived=derived, create=False)
    assert cipher.needs_rekey(old)
    assert cipher.decrypt(old, context=b"a") == VALUE
    new = cipher.rewrap(old, context=b"a")
    assert new.startswith("vault:v2:")
    assert not cipher.needs_rekey(new)
    assert cipher.decrypt(new, context=b"a") == VALUE
    with pytest.raises(DecryptionError):
        cipher.rewrap(old, context=b"b")


def test_a_version_that_may_no_longer_decrypt_is_told(make, server, engine):
    cipher = make()
    old = cipher.encrypt(VALUE)
    rotate(server, engine)
    server.client.secrets.transit.update_key_configuration(
        "app", min_decryption_version=2, mount_point=engine
    )
    with pytest.raises(DecryptionError, match="may no longer decrypt") as caught:
        cipher.decrypt(old)
    assert "min_decryption_version" in caught.value.hint
    new = make(create=False).encrypt(VALUE)
    with pytest.raises(DecryptionError, match="may no longer decrypt") as caught:
        cipher.decrypt_many([(new, b""), (old, b"")])
    assert "min_decryption_version" in caught.value.hint
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_ring_brings_values_from_a_key_of_ones_own_to_the_server(make):
    memory = MemorySecretProvider()
    own = AESGCMEncryption(generate_key())
    EncryptionMiddleware(memory, own).set_secrets({"a": "1", "b": "2"})
    ring = KeyRing(make(), own)
    moving = EncryptionMiddleware(memory, ring)
    assert moving.get_secrets(["a", "b"]) == {"a": "1", "b": "2"}
    seen = []
    assert moving.rekey(progress=lambda *arguments: seen.append(arguments)) == 2
    assert seen == [(1, 2), (2, 2)]
    assert moving.rekey() == 0
    assert EncryptionMiddleware(memory, ring.primary).get_secrets(["a", "b"]) == {"a": "1", "b": "2"}


# --- behind the middleware ---


def test_the_middleware_stores_tokens_and_brings_them_to_the_latest_version(make, server, engine, derived):
    memory = MemorySecretProvider()
    provider = EncryptionMiddleware(memory, make(derived=derived))
    provider.set_secrets({f"k{number}": f"value {number}" for number in range(20)})
    provider.set_secret(KEY, VALUE)
    assert all(memory.get_secret(key).startswith("vault:v1:") for key in memory.list_secrets())
    assert provider.get_secrets(["k1", "k2", "none"]) == {"k1": "value 1", "k2": "value 2"}
    rotate(server, engine)
    provider = EncryptionMiddleware(memory, make(derived=derived, create=False))
    assert provider.rekey("k") == 20
    assert provider.rekey() == 1
    assert all(memory.get_secret(key).startswith("vault:v2:") for key in memory.list_secrets())
    assert provider.get_secret(KEY) == VALUE
    memory.set_secret("copied", memory.get_secret(KEY))
    with pytest.raises(DecryptionError) as caught:
        provider.get_secrets(["k1", "copied"])
    assert caught.value.key == "copied"


def test_a_write_of_others_during_the_rekeying_is_left_to_them(make, server, engine):
    memory = MemorySecretProvider()
    cipher = make()
    provider = EncryptionMiddleware(memory, cipher)
    provider.set_secret(KEY, "before")
    rotate(server, engine)

    class Busy(VaultTransitEncryption):
        def rewrap(self, token, *, context=b""):
            provider.set_secret(KEY, "of others")
            return super().rewrap(token, context=context)

    busy = Busy(server.url, "app", server.token, mount_point=engine)
    assert EncryptionMiddleware(memory, busy).rekey() == 0
    assert provider.get_secret(KEY) == "of others"
    busy.close()


def test_rotation_goes_through_it(make):
    provider = EncryptionMiddleware(MemorySecretProvider(), make())
    provider.set_secret(KEY, "before")
    SecretRotation(provider, grace_seconds=60).rotate(KEY, VALUE)
    assert provider.get_secret(KEY) == VALUE
    SecretRotation(provider).rollback(KEY)
    assert provider.get_secret(KEY) == "before"


# --- errors ---


def test_what_is_wrong_with_the_key_is_told(make, server):
    make(create=True)
    with pytest.raises(ConfigurationError, match="no key other"):
        make("other", create=False).decrypt("vault:v1:AAAA")
    make("derived", derived=True)
    with pytest.raises(ConfigurationError, match="is a derived one"):
        make("derived", create=False).encrypt("x")
    with pytest.raises(ConfigurationError, match="cannot be bound"):
        make("rsa", key_type="rsa-2048").encrypt("x")
    with pytest.raises(ConfigurationError):
        make(create=False, mount_point="nowhere").encrypt("x")
    for name in ("", "a/b", "../sys", "x" * 200, "a b", "a?b"):
        with pytest.raises(ConfigurationError):
            VaultTransitEncryption(server.url, name, "token")


def test_denied_and_not_logged_in_and_down_are_not_about_the_value(make, server, engine):
    cipher = make()
    token = cipher.encrypt(VALUE)
    policy = f'path "{engine}/encrypt/app" {{ capabilities = ["update"] }}'
    server.client.sys.create_or_update_policy("writer", policy)
    writer = server.client.auth.token.create(policies=["writer"])["auth"]["client_token"]
    limited = make(create=False, token=writer)
    assert cipher.decrypt(limited.encrypt(VALUE)) == VALUE
    with pytest.raises(PermissionDeniedError):
        limited.decrypt(token)
    with pytest.raises(PermissionDeniedError):
        limited.needs_rekey(token)
    with pytest.raises(AuthenticationError):
        make(create=False, token="none").decrypt(token)
    with pytest.raises(BackendUnavailableError):
        make(create=False, url="http://127.0.0.1:9").decrypt(token)


def test_a_policy_without_create_makes_no_key_by_mistake(make, server, engine):
    policy = f'path "{engine}/encrypt/*" {{ capabilities = ["update"] }}'
    server.client.sys.create_or_update_policy("careful", policy)
    token = server.client.auth.token.create(policies=["careful"])["auth"]["client_token"]
    with pytest.raises((ConfigurationError, PermissionDeniedError)):
        make("misspelt", create=False, token=token).encrypt("x")


def test_what_is_no_text_is_refused(make):
    cipher = make()
    with pytest.raises(TypeError):
        cipher.encrypt(5)
    with pytest.raises(ValidationError) as caught:
        cipher.encrypt("\ud800")
    assert caught.value.__context__ is None
    raw = server_encrypt(cipher, b"\xff\xfe")
    with pytest.raises(DecryptionError, match="not UTF-8"):
        cipher.decrypt(raw)


def server_encrypt(cipher, data):
    body = {"plaintext": base64.b64encode(data).decode(), **cipher._bound(b"")}
    return cipher._ask("encrypt", body)["ciphertext"]


def test_no_error_or_repr_holds_a_value_or_the_login(make, server):
    cipher = make()
    token = cipher.encrypt(VALUE, context=b"a")
    assert server.token not in repr(cipher)
    for work in (
        lambda: cipher.decrypt(token, context=b"b"),
        lambda: make("none", create=False).rewrap(token),
        lambda: make(create=False, url="http://127.0.0.1:9").encrypt(VALUE),
        lambda: make("rsa", key_type="rsa-2048").encrypt(VALUE),
    ):
        with pytest.raises(StrongroomError) as caught:
            work()
        text = "".join(traceback.format_exception(caught.value))
        assert VALUE not in text
        assert server.token not in text
        assert base64.b64encode(VALUE.encode()).decode() not in text


# --- from a spec ---


def spec_of(server, engine, **transit):
    return {
        "version": 1,
        "pipelines": {
            "app": {
                "provider": {"type": "memory"},
                "middleware": [
                    {
                        "type": "encryption",
                        "cipher": {
                            "type": "vault.transit",
                            "url": server.url,
                            "token": "${env:TRANSIT_TOKEN}",
                            "mount_point": engine,
                            "key_name": "app",
                            **transit,
                        },
                    }
                ],
            }
        },
    }


def test_a_spec_names_it_and_nothing_is_asked_at_the_start(make, server, engine, monkeypatch):
    make()
    monkeypatch.setenv("TRANSIT_TOKEN", server.token)
    with SecretProviderRegistry(spec_of(server, engine, url="http://127.0.0.1:9")):
        pass
    with SecretProviderRegistry(spec_of(server, engine)) as registry:
        registry.set_secret(KEY, VALUE)
        assert registry.get_secret(KEY) == VALUE


def test_the_command_line_brings_all_values_to_the_latest_version(make, server, engine, tmp_path):
    make()
    spec = spec_of(server, engine)
    spec["pipelines"]["app"]["provider"] = {"type": "file", "file_path": "secrets.enc", "key_file": "app.key"}
    (tmp_path / "strongroom.yaml").write_text(json.dumps(spec))
    (tmp_path / "strongroom.yaml").chmod(0o644)

    def strongroom(*words, stdin=""):
        done = subprocess.run(
            [sys.executable, "-m", "strongroom", *words],
            check=True,
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env={
                "TRANSIT_TOKEN": server.token,
                "HOME": str(tmp_path),
                "STRONGROOM_TRUST_SPEC": "1",
                "PATH": str(Path(sys.executable).parent),
            },
        )
        return done.stdout

    strongroom("set", KEY, stdin=VALUE)
    rotate(server, engine)
    assert json.loads(strongroom("--json", "rekey", "--values")) == {"rekeyed": True, "values": 1}
    assert json.loads(strongroom("--json", "rekey", "--values")) == {"rekeyed": True, "values": 0}
    assert strongroom("get", KEY) == VALUE


def test_its_import_needs_no_sdk():
    code = "import sys, strongroom_vault.transit as t; t.VaultTransitEncryption('http://x', 'k'); assert 'hvac' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
