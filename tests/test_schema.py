"""The JSON Schema under schemas/ is the models' own, with the options of every plugin of the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from strongroom.spec import json_schema, load_plan

FILE = Path(__file__).parent.parent / "schemas" / "strongroom.schema.json"
SCHEMA = json.loads(FILE.read_text())


def valid(text):
    import jsonschema  # half a second that no other test has to wait for

    return jsonschema.Draft202012Validator(SCHEMA).is_valid(yaml.safe_load(text))


def test_the_file_is_what_the_models_say():
    assert json_schema() == SCHEMA, "run `make schema`"


def test_it_is_a_schema():
    import jsonschema  # as above

    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("{type: memory}", True),
        ("{type: memry}", False),
        ("{type: env, prefix: A_}", True),
        ("{type: env, prefix: 7}", False),
        ("{type: env, prefx: A_}", False),
        ("{type: vault, url: 'https://vault.example.com', timeout: 3}", True),
        ("{type: vault, url: 'https://vault.example.com', timeout: '${env:T}'}", True),
        ("{type: vault, url: 'https://vault.example.com', timeout: 'soon'}", False),
        ("{type: vault, url: '${env:VAULT}/v', mount_point: 'team-${env:TEAM}'}", True),
        ("{type: vault, url: '$${VAULT}/v'}", False),
        ("{type: vault, url: 'https://vault.example.com', timeout: '1${env:T}'}", False),
        ("{}", False),
    ],
)
def test_options_are_those_of_the_component_that_is_named(provider, expected):
    assert valid(f"version: 1\npipelines: {{app: {{provider: {provider}}}}}") is expected


def test_a_profile_is_a_piece_of_a_spec():
    frame = "version: 1\npipelines: {{app: {{provider: {{type: env, prefix: A_}}}}}}\nprofiles: {{t: {}}}"
    assert valid(frame.format("{pipelines: {app: {provider: {prefix: B_}}}}"))
    assert valid(frame.format("{secrets: {A: {required: false}}}"))
    assert not valid(frame.format("{pipelnes: {}}"))
    assert not valid(frame.format("{version: 1}"))


def test_every_description_is_there_for_an_editor_to_show():
    untold = [
        f"{name}.{option}"
        for name, definition in SCHEMA["$defs"].items()
        for option, schema in definition.get("properties", {}).items()
        if "description" not in schema
    ]
    assert untold == []


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        ("{type: caching, l2: {type: redis, url: '${env:REDIS}/0'}}", True),
        ("{type: caching, l2: {type: redis, url: 5}}", False),
        ("{type: caching, l2: null, encryption: null}", True),
        ("{type: encryption, cipher: null}", True),
        ("{type: prefix, prefix: 'team/${env:TEAM}'}", True),
    ],
)
def test_what_the_loader_takes_is_valid(middleware, expected):
    """References in longer text, and parts that are left out with null."""
    text = f"version: 1\npipelines: {{app: {{provider: {{type: memory}}, middleware: [{middleware}]}}}}"
    assert valid(text) is expected
    if expected:
        assert load_plan(yaml.safe_load(text), look_up=False).default == "app"


def test_items_and_an_empty_section_are_as_the_loader_takes_them():
    client = "{name: w, token: '${env:TOKEN}', allow: [a], operations: [get, '${env:OPERATION}']}"
    frame = "version: 1\npipelines: {app: {provider: {type: memory}}}\nserve: "
    for text in (f"{frame}{{clients: [{client}]}}", frame):
        assert valid(text)
        load_plan(yaml.safe_load(text), look_up=False)
    assert not valid(f"{frame}{{clients: [{client.replace('get', 'got')}]}}")
