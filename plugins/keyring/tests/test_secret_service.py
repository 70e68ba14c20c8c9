"""Against a real Secret Service: GNOME Keyring on a private D-Bus."""

from __future__ import annotations

import contextlib
import uuid

import pytest
import secretstorage
from strongroom.errors import AuthenticationError, BackendUnavailableError, ConfigurationError
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


def test_it_is_the_backend_that_is_chosen_without_asking(service):
    import keyring.core

    keyring.core.init_backend()
    found = KeyringSecretProvider(service)
    found.set_secret("a/b", "value")
    assert KeyringSecretProvider(service, backend=BACKEND).get_secret("a/b") == "value"


def test_an_entry_of_another_tool_is_read_listed_and_replaced(provider, service):
    with collection() as default:
        default.create_item("by secret-tool", {"service": service, "username": "db/password"}, b"theirs")
    assert provider.list_secrets() == ["db/password"]
    assert provider.get_secret("db/password") == "theirs"
    provider.set_secret("db/password", "ours")
    assert provider.get_secret("db/password") == "ours"
    provider.delete_secret("db/password")
    assert provider.list_secrets() == []


def test_no_index_is_kept_where_the_service_can_search(provider, service):
    provider.set_secret("a", "1")
    with collection() as default:
        found = [item.get_attributes()["username"] for item in default.search_items({"service": service})]
    assert found == ["a"]


def test_a_locked_keyring_is_not_logged_in(provider):
    provider.set_secret("a", "1")
    with collection() as default:
        default.lock()
    try:
        with pytest.raises(AuthenticationError) as caught:
            provider.get_secret("a")
    finally:
        _unlock()
    assert caught.value.provider == "keyring"
    assert "unlock" in str(caught.value)


def _unlock():
    """Give the daemon its password again over its own internal interface, as no prompt can be drawn."""
    from jeepney import DBusAddress, new_method_call

    with contextlib.closing(secretstorage.dbus_init()) as connection:
        address = DBusAddress(
            "/org/freedesktop/secrets",
            bus_name="org.freedesktop.secrets",
            interface="org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface",
        )
        from secretstorage.util import format_secret, open_session

        session = open_session(connection)
        default = secretstorage.get_default_collection(connection)
        reply = connection.send_and_get_reply(
            new_method_call(
                address,
                "UnlockWithMasterPassword",
                "o(oayays)",
                (default.collection_path, format_secret(session, b"pw")),
            )
        )
        assert not secretstorage.get_default_collection(connection).is_locked(), reply


def test_a_bus_that_went_away_is_unavailable(provider, monkeypatch):
    provider.set_secret("a", "1")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(BackendUnavailableError):
        provider.get_secret("a")


def test_without_a_bus_the_named_backend_cannot_be_used(service, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(ConfigurationError, match="cannot be used"):
        KeyringSecretProvider(service, backend=BACKEND).get_secret("a")
