"""The description that the server gives: valid, complete, and kept by what is answered (schemathesis)."""

from __future__ import annotations

import warnings
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from served import ADMIN, spec_of
from strongroom_serve.clients import GuessLimit
from strongroom_serve.vault_sys import OPENAPI

READ_ONLY = "read-only-token-0123456789"


@pytest.fixture
def server(served):
    spec = spec_of({"name": "reader", "token": READ_ONLY, "allow": ["app/**"]})
    made = served(spec, guesses=GuessLimit(burst=1_000_000))  # each request is tried with wrong tokens too
    made.registry.set_secrets(
        {"app/db": "1", "app/json": '{"user": "u", "password": "p"}', "folder/x/y": "2"}
    )
    return made


def test_it_is_valid_and_any_client_gets_it_at_vaults_path(server):
    reply = server.ask("GET", OPENAPI, token=READ_ONLY)
    assert reply.status == 200
    OpenAPIV31SpecValidator(reply.json()).validate()
    assert server.ask("GET", OPENAPI, token=None).status == 403
    assert server.ask("POST", OPENAPI, body={}).headers["allow"] == "GET"


def test_it_names_the_mount_of_the_spec(served):
    document = served(spec_of(mount="team/kv")).ask("GET", OPENAPI).json()
    assert "/v1/team/kv/data/{key}" in document["paths"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/secret/data/k", "GET, POST, PUT, DELETE"),
        ("/v1/secret/metadata/k", "GET, LIST, DELETE"),
        ("/v1/secret/undelete/k", ""),
        ("/healthz", "GET, HEAD"),
        ("/metrics", "GET"),
    ],
)
def test_a_405_names_the_methods_that_the_path_has(server, path, methods):
    reply = server.ask("PATCH", path, body={})
    assert (reply.status, reply.headers["allow"]) == (405, methods)


def operations(server, token):
    import schemathesis

    schema = schemathesis.openapi.from_url(f"{server.url}{OPENAPI}", headers={"X-Vault-Token": token})
    return [one.ok() for one in schema.get_all_operations()]


def kept(server, operation, mode, examples, token=ADMIN):
    """Send generated requests of one operation, and hold each answer to the description."""
    from schemathesis.specs.openapi import checks

    # A generated `cas` is not the version's, and what is deleted, or a folder's name, reads as absent.
    left_out = [checks.positive_data_acceptance]
    if operation.label == "GET /v1/secret/metadata/{key}":
        # The parameters of a list are not looked at where `list` does not ask for one.
        left_out.append(checks.negative_data_rejection)
    headers = dict.fromkeys(("X-Vault-Token", "X-Aws-Parameters-Secrets-Token"), token)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        response = case.call(headers=headers)
        case.validate_response(response, excluded_checks=left_out, headers=headers)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that make requests
        with suppress(Unsatisfiable):  # a request without parameters has none that could be wrong
            send()


@pytest.mark.torture
@pytest.mark.parametrize("token", [ADMIN, READ_ONLY])
def test_answers_to_thousands_of_generated_requests_are_those_of_the_description(server, token):
    from schemathesis import GenerationMode

    for operation in operations(server, token):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                kept(server, operation, mode, 150, token)
            except Exception as error:
                raise AssertionError(f"{operation.label} {mode.value}") from error
