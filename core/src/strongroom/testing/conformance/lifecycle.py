"""The kit's tests of how a provider is made, shown and closed."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from strongroom.providers import BatchReader, Closeable, SecretProvider, capabilities
from strongroom.testing.conformance.base import SECRET, ConformanceBase, needs, needs_second, only_where

__all__ = ["LifecycleTests"]

_FORBIDDEN_EVENTS = ("socket.connect", "socket.getaddrinfo", "sqlite3.connect", "subprocess.Popen")


class LifecycleTests(ConformanceBase):
    """Providers are cheap to make, quiet to show, and easy to give back."""

    def test_it_is_a_provider(self, provider: Any) -> None:
        """The provider has the four methods."""
        assert isinstance(provider, SecretProvider)

    def test_capabilities_are_whole(self, provider: Any) -> None:
        """A capability is there with all of its methods, and each of them can be called."""
        for protocol in capabilities(provider):
            methods = [name for name in vars(protocol) if not name.startswith("_")]
            assert methods
            assert all(callable(getattr(provider, name)) for name in methods)

    def test_capabilities_are_real_methods(self, provider: Any) -> None:
        """Methods are in the class: from Python 3.12 on `isinstance` does not ask `__getattr__`."""
        for protocol in (SecretProvider, *capabilities(provider)):
            for name in vars(protocol):
                assert name.startswith("_") or hasattr(type(provider), name), name

    @only_where(lambda kit: None if kit.provider_class else "provider_class is None")
    def test_its_class_tells_its_capabilities(self, provider: Any) -> None:
        """What `provider_class` lacks the provider lacks too, so that no test was left out for nothing."""
        assert self.provider_class is not None
        assert {one for one in capabilities(provider) if not issubclass(self.provider_class, one)} == set()

    def test_it_takes_names_of_arguments(self, provider: Any) -> None:
        """Arguments have the names of the protocol."""
        provider.set_secret(key="key", value="value")
        self.settle()
        assert provider.get_secret(key="key") == "value"
        provider.delete_secret(key="key")

    @needs(Closeable)
    def test_closing_twice(self, provider: Any) -> None:
        """A second `close` is harmless."""
        self.put(provider, {"key": "value"})
        provider.close()
        provider.close()

    @needs(Closeable)
    def test_closing_before_the_first_call(self, provider: Any) -> None:
        """Closing what was never used is harmless."""
        provider.close()

    @needs(Closeable)
    def test_it_is_a_context_manager(self, provider: Any) -> None:
        """A `with` block gives the provider itself, and closes it."""
        with provider as entered:
            assert entered is provider
            self.put(entered, {"key": "value"})
            assert entered.get_secret("key") == "value"

    def test_no_value_in_its_repr(self, provider: Any) -> None:
        """Neither `repr` nor `str` holds a value, also after it was written and read."""
        self.put(provider, {"key": SECRET})
        provider.get_secret("key")
        if isinstance(provider, BatchReader):
            provider.get_secrets(["key"])
        for text in (repr(provider), str(provider), f"{provider}"):
            assert SECRET not in text

    @needs_second
    def test_secrets_outlive_a_provider(self, provider: Any, reopened: Any) -> None:
        """What was written is there for another provider after the first one is closed."""
        second = self.second(reopened)
        self.put(provider, {"key": "value", "Key/ключ": ""})
        if isinstance(provider, Closeable):
            provider.close()
        assert second.list_secrets() == ["Key/ключ", "key"]
        assert second.get_secret("key") == "value"
        assert second.get_secret("Key/ключ") == ""

    @only_where(lambda kit: None if kit.sdk_modules else "there is no SDK: sdk_modules is empty")
    def test_no_sdk_is_loaded_before_the_first_call(self, provider: Any) -> None:
        """Importing and constructing the provider loads no SDK."""
        source = self.construction or f"import {type(provider).__module__}"
        loaded = self._run(f"{source}\nimport sys\nprint(*sys.modules.keys() & {self.sdk_modules!r})")
        assert loaded == ""

    @only_where(
        lambda kit: (
            None if kit.construction else "it does not say how to construct one: construction is empty"
        )
    )
    def test_the_constructor_does_no_io(self) -> None:
        """Constructing a provider connects to nothing and starts nothing."""
        watch = (
            "import sys\n"
            "seen = []\n"
            f"watched = {_FORBIDDEN_EVENTS!r}\n"
            "sys.addaudithook(lambda event, _: seen.append(event) if event in watched else None)\n"
        )
        assert self._run(f"{watch}{self.construction}\nprint(*seen)") == ""

    def _run(self, source: str) -> str:
        done = subprocess.run(  # noqa: S603 - this interpreter, with a source of the test's own
            [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
