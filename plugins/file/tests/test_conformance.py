"""The file store passes the conformance kit."""

from __future__ import annotations

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_file import FileSecretProvider

KEY = generate_key()


class TestFile(ProviderConformance):
    title = "file"
    provider_class = FileSecretProvider
    listed_keys = 30  # it knows no pages
    sdk_modules = ("sqlite3", "cryptography", "pydantic", "pluggy")
    construction = "from strongroom_file import FileSecretProvider; FileSecretProvider('secrets.enc', key_file='app.key')"

    @pytest.fixture
    def provider(self, tmp_path):
        with FileSecretProvider(tmp_path / "secrets.enc", KEY) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, tmp_path):
        with FileSecretProvider(tmp_path / "secrets.enc", KEY) as provider:
            yield provider


class TestFileBehindMiddleware(
    BehindMiddleware, kit=TestFile, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestFile)
