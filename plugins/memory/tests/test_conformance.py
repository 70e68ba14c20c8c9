"""The memory provider passes the conformance kit, also with limits, which middleware must pass on."""

from __future__ import annotations

import pytest
from strongroom.errors import SecretTooLargeError, ValidationError
from strongroom.keys import check_key, check_prefix, check_value
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_memory import MemorySecretProvider


class TestMemory(ProviderConformance):
    title = "memory"
    provider_class = MemorySecretProvider
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_memory import MemorySecretProvider; MemorySecretProvider()"

    @pytest.fixture
    def provider(self):
        with MemorySecretProvider() as provider:
            yield provider


class Limited(MemorySecretProvider):
    """Holds 2,000 bytes and no NUL, and counts what reaches it, as a service would."""

    requests = 0

    def get_secret(self, key):
        return super().get_secret(self._counted(key))

    def delete_secret(self, key):
        super().delete_secret(self._counted(key))

    def list_secrets(self, prefix=""):
        check_prefix(prefix)
        self.requests += 1
        return super().list_secrets(prefix)

    def set_secret(self, key, value):
        super().set_secret(self._counted(key), self._held(key, value))

    def set_secrets(self, values):
        super().set_secrets({key: self._held(self._counted(key), value) for key, value in values.items()})

    def set_secret_if(self, key, value, expected_version):
        return super().set_secret_if(self._counted(key), self._held(key, value), expected_version)

    def stage_secret(self, key, value):
        return super().stage_secret(self._counted(key), self._held(key, value))

    def _counted(self, key):
        check_key(key)
        self.requests += 1
        return key

    def _held(self, key, value):
        if "\0" in check_value(value, key):
            raise ValidationError("a NUL", key=key, provider="limited")
        if len(value.encode()) > 2000:
            raise SecretTooLargeError(key, provider="limited")
        return value


class TestLimited(TestMemory):
    """Is asked for all that any backend is, so that each test of the kit meets each middleware."""

    title = "memory, with the limits of a service"
    provider_class = Limited
    max_value_bytes = 2000
    not_representable = ("\0",)

    @pytest.fixture
    def backend(self):
        with Limited() as backend:
            yield backend

    @pytest.fixture
    def provider(self, backend):
        return backend

    @pytest.fixture
    def reopened(self, backend):
        return backend

    @pytest.fixture
    def request_count(self, backend):
        return lambda: backend.requests


class TestMemoryBehindMiddleware(
    BehindMiddleware, kit=TestMemory, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


class TestLimitedBehindMiddleware(
    BehindMiddleware, kit=TestLimited, beyond_sample=[pytest.mark.torture], each_middleware=True
):
    """The kit behind each middleware."""


# What is derived from another first: it would have got the marks of that one.
for kit in [*TestLimitedBehindMiddleware.kits, TestLimited, TestMemory]:
    together(pytest.mark.torture)(kit)
del kit
