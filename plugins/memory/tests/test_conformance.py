"""The memory provider passes the conformance kit."""

from __future__ import annotations

import pytest
from strongroom.testing import ProviderConformance, behind_each
from strongroom_memory import MemorySecretProvider


class TestMemory(ProviderConformance):
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_memory import MemorySecretProvider; MemorySecretProvider()"

    @pytest.fixture
    def provider(self):
        with MemorySecretProvider() as provider:
            yield provider


globals().update(behind_each(TestMemory))
