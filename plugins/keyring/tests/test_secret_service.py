"""Against a real Secret Service: GNOME Keyring on a private D-Bus."""

from __future__ import annotations

import contextlib
import gc
import socket
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import secretstorage
from jeepney.io.blocking import open_dbus_connection
from strongroom.errors import (
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
)
from strongroom_keyring import KeyringSecretProvider

pytestmark = pytest.mark.usefixtures("secret_service")

BACKEND = "keyring.backends.SecretService.Keyring"


@pytest.fixture
def service():
    return f"strongroom-{uuid.uuid4()}"


@pytest.fixture
def provider(service):
    return KeyringSecretProvider(service, backend=BACKEND)


@contextlib.contextmanager
def collection():
    with contextlib.closing(secretstorage.dbus_init()) as connection:
        yield secretstorage.get_default_collection(connection)


def test_it_is_the_backend_that_is_chosen_without_asking(provider, service):
    # In a process of its own: the library looks for backends once, when there may have been no bus.
    code = (
        "import sys; from strongroom_keyring import KeyringSecretProvider as P;"
        "P(sys.argv[1]).set_secret('a/b', 'value')"
    )
    subprocess.run([sys.executable, "-c", code, service], check=True)
    assert provider.get_secret("a/b") == "value"


def test_an_entry_of_another_tool_is_read_listed_and_replaced(provider, service):
    with collection() as default:
        default.create_item("by secret-tool", {"service": service, "username": "db/password"}, b"theirs")
    assert provider.list_secrets() == ["db/password"]
    assert provider.get_secret("db/password") == "theirs"
    provider.set_secret("db/password", "ours")
    assert provider.get_secret("db/password") == "ours"
    provider.delete_secret("db/password")
    assert provider.list_secrets() == []


def test_another_tool_that_stores_with_fewer_attributes_replaces_an_item(provider, service):
    """As the page of the keyring tells; what is lost so is absent, and nothing else comes in its place."""
    provider.set_secret("a", "1")
    with collection() as default:
        default.create_item("of another tool", {"service": service}, b"theirs", replace=True)
    with pytest.raises(SecretNotFoundError):
        provider.get_secret("a")
    assert provider.list_secrets() == []
    provider.set_secret("a", "2")
    assert provider.get_secret("a") == "2"


def test_no_index_is_kept_where_the_service_can_search(provider, service):
    provider.set_secret("a", "1")
    with collection() as default:
        found = [item.get_attributes()["username"] for item in default.search_items({"service": service})]
    assert found == ["a"]


# The keyring library leaves its connection open where the collection is locked.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_locked_keyring_is_not_logged_in(provider, other_bus_address, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", other_bus_address)
    provider.set_secret("a", "1")
    with collection() as default:
        default.lock()
    _refused(provider)
    gc.collect()


def _refused(provider):
    try:
        provider.get_secret("a")
    except AuthenticationError as error:
        assert error.provider == "keyring"  # noqa: PT017  # `raises` would keep the open connection alive
        assert "unlock" in str(error)  # noqa: PT017  # as above
    else:
        pytest.fail("a locked keyring answered")


def test_a_bus_that_went_away_is_unavailable(provider, monkeypatch):
    provider.set_secret("a", "1")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(BackendUnavailableError):
        provider.get_secret("a")


def test_without_a_bus_the_named_backend_cannot_be_used(service, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        KeyringSecretProvider(service, backend=BACKEND).get_secret("a")


def test_a_bus_that_is_too_busy_to_answer_is_unavailable(service, monkeypatch, tmp_path):
    monkeypatch.setattr(
        secretstorage, "open_dbus_connection", partial(open_dbus_connection, auth_timeout=0.05)
    )
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "bus"))
        silent.listen()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path / 'bus'}")
        with pytest.raises(BackendUnavailableError, match="authenticate") as caught:
            KeyringSecretProvider(service, backend=BACKEND).get_secret("a")
    assert caught.value.retryable


def test_an_entry_that_vanishes_while_it_is_listed_is_left_out(provider, monkeypatch):
    provider.set_secret("a", "1")
    provider.set_secret("b", "2")
    original = secretstorage.Item.get_attributes

    def meanwhile(item):
        if original(item)["username"] == "a":
            item.delete()
        return original(item)

    monkeypatch.setattr(secretstorage.Item, "get_attributes", meanwhile)
    assert provider.list_secrets() == ["b"]


def test_the_service_is_asked_one_thing_at_a_time(service):
    """GNOME's daemon has died of several first calls at once, and with it the desktop's session of it."""
    from keyring.backends import SecretService

    inside, most = [], []

    class Watched(SecretService.Keyring):
        def get_password(self, *asked):
            inside.append(asked)
            most.append(len(inside))
            try:
                return super().get_password(*asked)
            finally:
                inside.remove(asked)

    provider = KeyringSecretProvider(service, backend=Watched())
    provider.set_secret("a", "1")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(provider.get_secret, ["a"] * 24)) == ["1"] * 24
    assert max(most) == 1
