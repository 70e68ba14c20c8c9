"""How often the options of components are validated, and whose they are."""

from __future__ import annotations

import collections

import pytest
import yaml
from strongroom import SecretProviderRegistry
from strongroom.errors import SecretNotFoundError, SpecError
from strongroom.plugins.builtins import AuditConfig, CachingConfig, ReadOnlyConfig, RetryConfig
from strongroom.plugins.builtins_keys import PrefixConfig
from strongroom.spec import load_plan
from strongroom_memory.config import MemoryConfig


@pytest.fixture
def validations(monkeypatch):
    """Count how often the options of each type are validated."""
    counts = collections.Counter()

    def count(config):
        validate = config.model_validate_json

        def counted(*args, **options):
            counts[config.__name__] += 1
            return validate(*args, **options)

        monkeypatch.setattr(config, "model_validate_json", counted)

    for config in MemoryConfig, CachingConfig, RetryConfig, ReadOnlyConfig, AuditConfig, PrefixConfig:
        count(config)
    return counts


FOUR = """\
version: 1
pipelines:
  app:
    provider: {type: memory}
    middleware: [{type: caching}, {type: retry, attempts: 2}, {type: read-only}]
    hooks: [{type: audit, path: audit.jsonl}]
"""


@pytest.mark.parametrize("form", ["file", "mapping"])
def test_a_start_validates_the_options_of_each_component_at_most_twice(
    form, validations, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "s.yaml"
    path.write_text(FOUR)
    spec = path if form == "file" else yaml.safe_load(FOUR)
    with SecretProviderRegistry(spec) as registry, pytest.raises(SecretNotFoundError):
        registry.get_secret("A")
    assert len(validations) == 5
    assert max(validations.values()) <= 2, validations  # from a file once more, for the record of it


REFERRING = """\
version: 1
default: both
pipelines:
  app:
    provider: {type: memory, secrets: {A: "${env:VALUE}"}}
    middleware:
      - {type: caching, ttl_seconds: "${env:SECONDS}"}
      - {type: retry, attempts: "${env:ATTEMPTS}"}
      - {type: prefix, prefix: "${env:PREFIX}"}
  both:
    fallback: {pipelines: [app]}
    middleware: [{type: caching}]
"""


def test_a_start_validates_options_with_references_once_as_written_and_once_filled_in(
    validations, monkeypatch
):
    for name, text in {"VALUE": "v", "SECONDS": "9", "ATTEMPTS": "4", "PREFIX": "p/"}.items():
        monkeypatch.setenv(name, text)
    with SecretProviderRegistry(yaml.safe_load(REFERRING)) as registry:
        registry.set_secret("B", "w")
        assert registry.get_secret("B") == "w"
    assert {name: validations[name] for name in ("MemoryConfig", "RetryConfig", "PrefixConfig")} == {
        "MemoryConfig": 2,
        "RetryConfig": 2,
        "PrefixConfig": 2,
    }
    assert validations["CachingConfig"] == 2 + 1  # of the one with a reference, and of the other


def test_what_references_bring_in_between_load_and_start_is_validated_again(validations, monkeypatch):
    monkeypatch.setenv("ATTEMPTS", "4")
    retry = {"type": "retry", "attempts": "${env:ATTEMPTS}"}
    pipeline = {"provider": {"type": "memory"}, "middleware": [retry]}
    plan = load_plan({"version": 1, "pipelines": {"app": pipeline}})
    (component,) = plan.pipelines["app"].middleware
    monkeypatch.setenv("ATTEMPTS", "many")
    with pytest.raises(SpecError, match="attempts: expected a whole number"):
        component.resolved()
    monkeypatch.setenv("ATTEMPTS", "5")
    assert [component.resolved()["attempts"] for _ in range(2)] == [5, 5]


def test_a_load_validates_options_once_as_written_and_once_with_references_filled_in(
    validations, monkeypatch
):
    monkeypatch.setenv("ATTEMPTS", "4")
    retry = {"type": "retry", "attempts": "${env:ATTEMPTS}"}
    monkeypatch.setenv("KEYS", "A")
    rules = {"type": "validation", "key_pattern": "${env:KEYS}"}
    pipeline = {"provider": {"type": "memory"}, "middleware": [retry, {"type": "caching"}, rules]}
    plan = load_plan({"version": 1, "pipelines": {"app": pipeline}})
    assert validations["CachingConfig"] == 1  # they are the same then
    assert validations["RetryConfig"] == 2  # as written, and as the number that it is
    monkeypatch.setenv("ATTEMPTS", "7")
    monkeypatch.setenv("KEYS", "B")
    retry, _, rules = plan.pipelines["app"].middleware
    assert (retry.resolved()["attempts"], rules.resolved()["key_pattern"]) == (7, "B")


def test_whoever_changes_the_options_of_a_component_changes_them_for_nobody_else():
    rules = {"forbid": ["x"], "json_schema": {"type": "object", "required": ["a"]}}
    pipeline = {"provider": {"type": "memory"}, "middleware": [{"type": "validation", **rules}]}
    (component,) = load_plan({"version": 1, "pipelines": {"app": pipeline}}).pipelines["app"].middleware
    options = component.resolved()
    options["forbid"].append("y")
    options["json_schema"]["required"].append("b")
    options["max_length"] = 1
    again = component.resolved()
    assert {name: again[name] for name in rules} == rules
    assert again["max_length"] != 1
