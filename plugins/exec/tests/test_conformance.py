"""The exec provider passes the conformance kit, with the example program in Python, and that in JavaScript."""

from __future__ import annotations

import shutil

import pytest
from strongroom.testing import BehindMiddleware, ProviderConformance
from strongroom.testing.sampling import together
from strongroom_exec import ExecSecretProvider


def emptied(provider):
    for key in provider.list_secrets():
        provider.delete_secret(key)
    return provider


class TestExec(ProviderConformance):
    title = "exec, a program in Python"
    provider_class = ExecSecretProvider
    listed_keys = 30  # it knows no pages
    sdk_modules = ("sqlite3", "pydantic", "pluggy")
    construction = "from strongroom_exec import ExecSecretProvider; ExecSecretProvider(['/nowhere'])"
    survives_forks = "a child starts a program of its own, and this one keeps its secrets in its memory"
    hostile_keys = ("__proto__", "constructor/prototype", "\ufeff", "jsonrpc", "id")
    hostile_values = ('{"jsonrpc": "2.0", "id": 1, "result": 7}\n', "x" * 300_000)

    @pytest.fixture
    def provider(self, python):
        return emptied(python)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
@pytest.mark.torture
class TestExecJavaScript(TestExec):
    title = "exec, a program in JavaScript"

    @pytest.fixture
    def provider(self, javascript):
        return emptied(javascript)


class TestExecBehindMiddleware(
    BehindMiddleware, kit=TestExec, beyond_sample=[pytest.mark.torture], one_in=12
):
    """The kit behind each middleware."""


together(pytest.mark.torture)(TestExec)
