"""With a backend that cannot list: keyrings.alt's file, which also takes `A` and `a` for one name."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keyring
import keyring.backend
import pytest
from keyring.backends import chainer, fail, null
from keyring.errors import KeyringLocked, PasswordDeleteError, PasswordSetError
from keyrings.alt.file import PlaintextKeyring
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    PermissionDeniedError,
    SecretNotFoundError,
    StrongroomError,
    ValidationError,
)
from strongroom_keyring import KeyringSecretProvider
from strongroom_keyring.names import INDEX_NAME


@pytest.fixture
def provider(file_backend):
    return KeyringSecretProvider(backend=file_backend)


def test_it_lists_what_it_wrote_and_no_longer_what_it_deleted(provider):
    for key in ("b/2", "a/1", "a/x", "ä/ö", "strongroom:index", "A/1"):
        provider.set_secret(key, key)
    assert provider.list_secrets() == ["A/1", "a/1", "a/x", "b/2", "strongroom:index", "ä/ö"]
    assert provider.list_secrets("a/") == ["a/1", "a/x"]
    assert [provider.get_secret(key) for key in ("A/1", "a/1")] == ["A/1", "a/1"]
    provider.delete_secret("a/1")
    assert provider.list_secrets("a/") == ["a/x"]
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("a/1")
    with pytest.raises(SecretNotFoundError):
        provider.delete_secret("a/1")


def test_what_another_tool_wrote_is_read_but_cannot_be_listed(provider, file_backend):
    file_backend.set_password("strongroom", "db/password", "theirs\n")
    assert provider.get_secret("db/password") == "theirs\n"
    assert provider.list_secrets() == []


def test_what_another_tool_deleted_is_not_listed(provider, file_backend):
    provider.set_secret("a", "1")
    file_backend.delete_password("strongroom", "a")
    assert provider.list_secrets() == []


def test_the_state_of_a_rotation_is_stored_and_not_listed(provider):
    provider.set_secret("a/.rotation/b", "state")
    assert provider.get_secret("a/.rotation/b") == "state"
    assert provider.list_secrets() == []


@pytest.mark.parametrize("text", [json.dumps({"no": "list"}), "[" * 100_000], ids=["other", "nested"])
def test_an_index_that_is_none_is_told(provider, file_backend, text):
    file_backend.set_password("strongroom", INDEX_NAME, text)
    with pytest.raises(ConfigurationError, match="not strongroom's index"):
        provider.list_secrets()


class InterruptedKeyring(PlaintextKeyring):
    """A keyring in the middle of whose work a signal comes."""

    def get_password(self, service, name):
        self.interrupt()
        return super().get_password(service, name)

    def interrupt(self):
        pass


def test_a_signal_handler_in_the_middle_of_a_call_does_not_wait_for_ever(file_backend):
    """It may read beside a read; beside a write, which it interrupts, it is refused."""
    backend = InterruptedKeyring()
    backend.file_path = file_backend.file_path
    provider = KeyringSecretProvider(backend=backend)
    provider.set_secret("key", "value")
    answers = []

    def handle(*_):
        del backend.interrupt  # once
        for call in (lambda: provider.get_secret("key"), lambda: provider.delete_secret("key")):
            try:
                answers.append(call())
            except BackendUnavailableError as error:
                answers.append(error.message.partition("is in use by")[1])

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        backend.interrupt = lambda: signal.raise_signal(signal.SIGUSR1)
        assert provider.get_secret("key") == "value"
        backend.interrupt = lambda: signal.raise_signal(signal.SIGUSR1)
        provider.set_secret("other", "value")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert answers == ["value", "is in use by", "is in use by", "is in use by"]
    assert provider.list_secrets() == ["key", "other"]


def test_threads_lose_no_key(provider):
    def write(part):
        for number in range(10):
            provider.set_secret(f"{part}/{number}", "v")

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(provider.list_secrets()) == 40


def test_processes_lose_no_key(provider, file_backend):
    code = """
import sys
from keyrings.alt.file import PlaintextKeyring
from strongroom_keyring import KeyringSecretProvider
backend = PlaintextKeyring()
backend.file_path = sys.argv[1]
provider = KeyringSecretProvider(backend=backend)
for number in range(15):
    provider.set_secret(f"{sys.argv[2]}/{number}", "v")
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, file_backend.file_path, part]) for part in ("p", "q")
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    assert len(provider.list_secrets()) == 30


class ArmedKeyring(PlaintextKeyring):
    """Fails as it is told to."""

    error: Exception | None = None
    method = ""

    def get_password(self, service, username):
        self._fail("get")
        return super().get_password(service, username)

    def set_password(self, service, username, password):
        self._fail("set")
        super().set_password(service, username, password)

    def delete_password(self, service, username):
        self._fail("delete")
        super().delete_password(service, username)

    def _fail(self, method):
        if self.error is not None and method == self.method:
            raise self.error


@pytest.fixture
def armed(tmp_path):
    backend = ArmedKeyring()
    backend.file_path = str(tmp_path / "armed.cfg")
    return backend


def test_a_delete_that_is_refused_is_not_absence(armed):
    found = KeyringSecretProvider(backend=armed)
    found.set_secret("a", "1")
    armed.method, armed.error = "delete", PasswordDeleteError("no")
    with pytest.raises(PermissionDeniedError):
        found.delete_secret("a")
    assert found.list_secrets() == ["a"]


def test_a_locked_keyring_is_not_absence(armed):
    armed.method, armed.error = "get", KeyringLocked("locked")
    with pytest.raises(AuthenticationError) as caught:
        KeyringSecretProvider(backend=armed).get_secret("a")
    assert (caught.value.key, caught.value.provider) == ("a", "keyring")


@pytest.mark.parametrize("kind", [RuntimeError, PasswordSetError])
@pytest.mark.parametrize("written", ["hunter2", "aHVudGVyMg=="])
def test_an_error_that_quotes_the_value_is_told_without_it(armed, kind, written):
    armed.method, armed.error = "set", kind(f"cannot store {written}")
    with pytest.raises(StrongroomError) as caught:
        KeyringSecretProvider(backend=armed).set_secret("a", "hunter2")
    assert written not in repr(caught.value) + str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_binary_entry_is_told_and_is_not_absent(file_backend, provider, monkeypatch):
    monkeypatch.setattr(PlaintextKeyring, "encrypt", lambda self, password, assoc=None: b"hunter2\xff\xfe")
    file_backend.set_password("strongroom", "a", "anything")
    with pytest.raises(ValidationError) as caught:
        provider.get_secret("a")
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "said"),
    [
        (null.Keyring(), "switched off"),
        (fail.Keyring(), "No recommended backend"),
        ("no.such.Keyring", "cannot be used"),
        ("keyring.backends.macOS.Missing", "cannot be used"),
        (object(), "not a keyring backend"),
    ],
)
def test_no_usable_backend_is_the_set_ups_fault(backend, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        KeyringSecretProvider(backend=backend).get_secret("a")
    assert caught.value.hint


def test_strongroom_in_a_circle_is_refused(monkeypatch):
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "strongroom.integrations.keyring.StrongroomKeyring")
    before = keyring.core._keyring_backend
    keyring.core._keyring_backend = None
    try:
        with pytest.raises(ConfigurationError, match="circle"):
            KeyringSecretProvider().get_secret("a")
    finally:
        keyring.core._keyring_backend = before


def test_a_chain_is_read_in_order_and_deleted_from_throughout(tmp_path, monkeypatch):
    members = []
    for number in range(2):
        member = PlaintextKeyring()
        member.file_path = str(tmp_path / f"{number}.cfg")
        members.append(member)
    monkeypatch.setattr(chainer.ChainerBackend, "backends", members)
    found = KeyringSecretProvider(backend=chainer.ChainerBackend())
    members[1].set_password("strongroom", "a", "second")
    assert found.get_secret("a") == "second"
    found.set_secret("a", "first")
    assert found.get_secret("a") == "first"
    found.delete_secret("a")
    with pytest.raises(SecretNotFoundError):
        found.get_secret("a")


def test_the_backend_is_named_in_yaml(monkeypatch, tmp_path):
    monkeypatch.setattr(PlaintextKeyring, "file_path", str(tmp_path / "named.cfg"))
    spec = {
        "version": 1,
        "pipelines": {
            "desk": {"provider": {"type": "keyring", "backend": "keyrings.alt.file.PlaintextKeyring"}}
        },
    }
    with SecretProviderRegistry(spec) as registry:
        registry.set_secret("a/b", "value")
        assert registry.list_secrets() == ["a/b"]
    assert Path(tmp_path / "named.cfg").exists()


def test_making_one_imports_no_keyring():
    code = (
        "import sys, strongroom_keyring.plugin; from strongroom_keyring import KeyringSecretProvider;"
        "KeyringSecretProvider(); print([m for m in ('keyring', 'secretstorage') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
