"""The directory provider passes the conformance kit, without and with an ending of its files."""

from __future__ import annotations

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_directory import DirectorySecretProvider


class TestDirectory(ProviderConformance):
    title = "directory"
    listed_keys = 30  # it knows no pages
    provider_class = DirectorySecretProvider
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = (
        "from strongroom_directory import DirectorySecretProvider; DirectorySecretProvider('/nowhere')"
    )
    hostile_keys = (
        *(
            "..data",
            "..data/a",
            ".strongroom-lock",
            "=_2f",
            "=_61",
            "a=_2fb",
            "=_h",
            "=_+",
            "=_+/a",
            "a=_+/b",
        ),
        *("=", "=_", "__", "=__", "=_=_", "." * 512, "_=" * 200, "é" * 127, "é" * 128, f"{'x' * 252}.y"),
    )

    @pytest.fixture
    def provider(self, tmp_path):
        with DirectorySecretProvider(tmp_path / "secrets", writable=True) as provider:
            yield provider

    @pytest.fixture
    def reopened(self, provider, tmp_path):
        with DirectorySecretProvider(tmp_path / "secrets", writable=True) as second:
            yield second


class TestDirectoryBehindMiddleware(
    BehindMiddleware, kit=TestDirectory, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestDirectory)
