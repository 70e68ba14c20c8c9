"""Protocols, capabilities, the base class, and what reaches subscribers."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest
from interrupts import interrupted
from provider_support import Held, Stranger, by_cause
from strongroom.errors import InvalidKeyError
from strongroom.providers import (
    CAPABILITIES,
    BaseProvider,
    BatchReader,
    FullProvider,
    SecretMetadata,
    SecretVersion,
    capabilities,
    capability_methods,
    guard,
    unsupported,
)
from strongroom_memory import MemorySecretProvider


def test_capabilities_are_found_by_their_methods():
    """Nothing is declared: having the methods is having the capability."""

    class Some(Stranger):
        def get_secrets(self, keys):
            return {}

        def list_versions(self, key):
            return []

    assert capabilities(Some()) == {BatchReader}
    assert capability_methods(Some()) == {"get_secrets"}
    assert capabilities(Stranger()) == set()


def test_capabilities_and_their_methods_agree():
    """The table lists exactly the methods of each protocol, and `FullProvider` has them all."""
    for protocol, names in CAPABILITIES.items():
        assert {name for name in vars(protocol) if not name.startswith("_")} == set(names)
        assert all(hasattr(FullProvider, name) for name in names)


def test_a_key_by_its_name_is_checked_too():
    """The rules for keys hold for `key=` as for the first argument."""
    with pytest.raises(InvalidKeyError):
        guard(Held(by_cause)).stage_secret(key="a//b", value="value")


def test_unsupported_names_provider_and_operation():
    """The error for what a provider cannot do says which provider, what, and about which key."""
    error = unsupported("describe_secret", MemorySecretProvider(), "a/b")
    assert str(error).startswith("memory has no describe_secret for 'a/b'")
    assert (error.key, error.provider) == ("a/b", "memory")
    assert unsupported("stage_secret", Stranger()).provider == "Stranger"


def test_base_provider():
    """It closes with its block, and shows its class alone."""

    class Closing(BaseProvider):
        closed = 0

        def close(self):
            self.closed += 1

    with Closing() as provider:
        assert provider.closed == 0
    assert provider.closed == 1
    assert repr(provider) == "<Closing>"
    assert BaseProvider().close() is None


def test_metadata_has_defaults():
    """What a backend does not tell is None or empty, and descriptions do not share their tags."""
    one, other = SecretMetadata("a", "1"), SecretMetadata("a", "1")
    assert (one.created_at, one.updated_at, one.tags) == (None, None, {})
    assert one.tags is not other.tags
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert SecretVersion("1", now, "current") == SecretVersion("1", now, "current")


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_change_reaches_every_subscriber_whatever_one_of_them_raises(error, caplog):
    """An interrupt or exit of the main thread, as by a signal, reaches it once all have heard."""
    heard = []

    def fail(changes):
        raise error("s3cret")

    provider = MemorySecretProvider()
    provider.subscribe_changes(fail)
    provider.subscribe_changes(lambda changes: heard.append([one.key for one in changes]))
    with nullcontext() if error is RuntimeError else pytest.raises(error):
        provider.set_secret("a", "1")
    assert heard == [["a"]]
    if error is RuntimeError:
        assert f"a callback of subscribe_changes failed: {error.__name__}" in caplog.text
    assert "s3cret" not in caplog.text
    with nullcontext() if error is RuntimeError else pytest.raises(error):
        provider.set_secret("b", "1")
    assert heard == [["a"], ["b"]]


def test_a_change_reaches_every_subscriber_though_one_ends_its_thread(caplog):
    heard = []

    def exit_thread(changes):
        raise SystemExit

    provider = MemorySecretProvider()
    provider.subscribe_changes(exit_thread)
    provider.subscribe_changes(lambda changes: heard.append([one.key for one in changes]))
    wrote = threading.Event()
    thread = threading.Thread(target=lambda: (provider.set_secret("a", "1"), wrote.set()))
    thread.start()
    thread.join()
    assert wrote.is_set()
    assert heard == [["a"]]
    assert "a callback of subscribe_changes failed: SystemExit" in caplog.text


def test_an_interrupt_of_a_write_keeps_no_later_change_from_subscribers():
    heard = []
    provider = MemorySecretProvider()
    provider.subscribe_changes(heard.extend)
    for number, _ in enumerate(interrupted(lambda: provider.set_secret("a", "1"), 100)):
        provider.set_secret("b", str(number))
        assert heard[-1].key == "b"
