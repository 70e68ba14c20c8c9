"""The KeePass provider passes the conformance kit."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_keepass import KeePassSecretProvider


class TestKeePass(ProviderConformance):
    title = "keepass"
    provider_class = KeePassSecretProvider
    listed_keys = 30  # it knows no pages
    sdk_modules = ("pykeepass", "lxml", "construct", "argon2", "sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_keepass import KeePassSecretProvider; KeePassSecretProvider('/x', 'p')"
    not_representable = ("\x00", "\x01", "\x1b", "\ufffe", "\uffff")
    hostile_keys = ("Recycle Bin", "Recycle Bin/x", "Root", "=_61", "\ufffe", " ", "a/ /b", "{REF:P@I:1}")
    hostile_values = ("{REF:P@T:key}", "\r\n", " ")

    def put(self, provider, values):
        provider.set_secrets(values)

    @pytest.fixture
    def provider(self, path):
        with KeePassSecretProvider(path, "master of the tests") as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, path):
        with KeePassSecretProvider(path, "master of the tests") as second:
            yield second


class TestKeePassBehindMiddleware(
    BehindMiddleware, kit=TestKeePass, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestKeePass)
