"""Options and logins: checked without I/O, and options beat the environment."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pydantic
import pytest
import trustme
from strongroom.errors import AuthenticationError, ConfigurationError
from strongroom_azure import AzureSecretProvider
from strongroom_azure.config import AzureConfig
from strongroom_azure.credentials import METHODS, build, problem

URL = "https://my-vault.vault.azure.net"


@pytest.mark.parametrize(
    "url",
    [
        *("", "my-vault", "http://my-vault.vault.azure.net", f"{URL}/secrets/x", f"{URL}?a=b", None, 7),
        *(
            "https://",
            "https://user:pass@host",
            "https://host:port",
            f"https://{'a' * 64}.net",
            "https://[::1",
        ),
    ],
)
def test_a_wrong_address_is_configuration(url):
    with pytest.raises(ConfigurationError, match="vault_url") as caught:
        AzureSecretProvider(url)
    assert caught.value.provider == "azure"


@pytest.mark.parametrize(
    "rest", ["user:hunter22@h", "user:12/hunter22@h", "h?sig=hunter22", "h#hunter22", "h/?sig=hunter22"]
)
def test_an_address_with_a_credential_in_it_is_not_shown(rest):
    with pytest.raises(ConfigurationError, match="got one with a user, options or an anchor") as caught:
        AzureSecretProvider(f"https://{rest}")
    assert "hunter22" not in f"{caught.value!r} {caught.value.__context__!r}"


@pytest.mark.parametrize("url", [URL, f"{URL}/", "https://127.0.0.1:8443", "https://[::1]:8443"])
def test_an_address_is_taken_with_and_without_its_slash(url):
    assert repr(AzureSecretProvider(url)) == f"<AzureSecretProvider {url.rstrip('/')}>"


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": float("nan")},
        {"deadline": -1},
        {"max_workers": 0},
        {"credential": "token"},
        {"credential": object()},
        {"credential": {"method": "client_secret", "tenant_id": "t"}},
        {"client_options": {"credential": 1}},
        {"tags": {str(number): "x" for number in range(10)}},
        {"tags": {"strongroom.key": "x"}},
        {"tags": {"": "x"}},
        {"tags": {"team": 7}},
        {"tags": {"team": "x" * 257}},
        {"tags": {"team": "🔑" * 129}},
    ],
)
def test_wrong_options_are_configuration(options):
    with pytest.raises(ConfigurationError):
        AzureSecretProvider(URL, **options)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "needs a method"),
        ({"method": "password"}, "needs a method"),
        ({"method": []}, "needs a method"),
        ({"method": "managed_identity", "tenant": "t"}, "unknown tenant"),
        ({"method": "client_secret", "tenant_id": "t"}, "needs client_id, client_secret"),
        ({"method": "client_certificate", "tenant_id": "t", "client_id": "c"}, "one of certificate"),
        ({"method": "managed_identity", "client_id": "a", "object_id": "b"}, "takes one of"),
    ],
)
def test_wrong_logins_are_told_by_spec_and_constructor(given, expected):
    assert expected in problem(given)
    with pytest.raises(pydantic.ValidationError, match=expected):
        AzureConfig(vault_url=URL, credential=given)
    with pytest.raises(ConfigurationError, match=expected):
        AzureSecretProvider(URL, credential=given)


def test_config_and_constructor_have_the_same_defaults():
    config = AzureConfig(vault_url=URL).model_dump()
    provider = AzureSecretProvider(**config)
    plain = AzureSecretProvider(URL)
    assert provider._options == plain._options


MEMBERS = {
    "default": {},
    "client_secret": {"tenant_id": "t", "client_id": "c", "client_secret": "s3cret"},
    "managed_identity": {"client_id": "c"},
    "workload_identity": {"tenant_id": "t", "client_id": "c", "token_file_path": "/nowhere"},
    "azure_cli": {"tenant_id": "t"},
}


@pytest.mark.parametrize("method", MEMBERS)
def test_each_method_makes_its_credential(method):
    made = build({"method": method, **MEMBERS[method]})
    assert type(made).__name__ == METHODS[method].class_name
    assert callable(made.get_token)
    made.close()


class _Tokens(http.server.BaseHTTPRequestHandler):
    """The server of a managed identity, as App Service has it; it notes the login of each request."""

    def do_GET(self):
        self.server.logins.append(self.headers.get("Authorization"))
        token = {
            "access_token": "loopback-token",
            "expires_on": str(int(time.time()) + 3600),
            "resource": "r",
        }
        body = json.dumps(token | {"token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_no_server_of_tokens_gets_a_login_of_a_netrc(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("default login somebody password something")
    with http.server.HTTPServer(("127.0.0.1", 0), _Tokens) as server:
        server.logins = []
        environment = {
            "NETRC": str(tmp_path / "netrc"),
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}/token",
            "IDENTITY_HEADER": "given-by-the-platform",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        login = build({"method": "managed_identity"})
        assert login.get_token("https://vault.azure.net/.default").token == "loopback-token"
        login.close()
        thread.join()
    assert server.logins == [None]


def test_a_managed_identity_by_its_resource():
    made = build({"method": "managed_identity", "resource_id": "/subscriptions/s/x"})
    made.close()


def test_a_certificate_as_text_and_as_file(azure_authority, tmp_path):
    leaf = azure_authority.ca.issue_cert("login", key_type=trustme.KeyType.RSA)
    pem = leaf.private_key_and_cert_chain_pem.bytes()
    (tmp_path / "login.pem").write_bytes(pem)
    common = {"method": "client_certificate", "tenant_id": "t", "client_id": "c"}
    build({**common, "certificate": pem.decode()}).close()
    build({**common, "certificate_path": str(tmp_path / "login.pem")}).close()


def test_an_unusable_certificate_is_configuration_and_not_shown():
    text = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXNlY3JldA==\n-----END PRIVATE KEY-----\n"
    with pytest.raises(ConfigurationError, match="client_certificate") as caught:
        build({"method": "client_certificate", "tenant_id": "t", "client_id": "c", "certificate": text})
    assert "c2VjcmV0" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__context__ is None


def test_options_beat_the_environment(monkeypatch):
    """azure-identity would take the token endpoint's address from AZURE_AUTHORITY_HOST."""
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://login.elsewhere.example")
    made = build({"method": "client_secret", **MEMBERS["client_secret"]})
    assert "elsewhere" not in str(vars(made))
    made.close()


def test_a_described_login_is_used(bench, monkeypatch):
    """No token endpoint is reached here: that the login is used shows in its comparing the tenants."""
    given = {"method": "azure_cli", "tenant_id": "00000000-0000-0000-0000-000000000000"}
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AuthenticationError, match="tenant"):
        bench.provider(credential=given).get_secret("k")


def test_azures_standard_chain_is_found_at_the_first_call(bench, monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.setenv("PATH", "/nowhere")
    with bench.provider(credential=None) as provider, pytest.raises(AuthenticationError):
        provider.get_secret("k")


def test_no_login_is_shown():
    secret = "s3cret-s3cret"
    provider = AzureSecretProvider(
        URL, credential={**MEMBERS["client_secret"], "client_secret": secret, "method": "client_secret"}
    )
    config = AzureConfig(
        vault_url=URL, credential={**MEMBERS["managed_identity"], "method": "managed_identity"}
    )
    assert secret not in f"{provider!r} {provider._options!r}"
    assert "client_id" not in repr(config)
