"""The JSON Schema under schemas/ is the models' own, with the options of every plugin of the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from strongroom.spec import json_schema

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
