"""What is wrong with a spec is told at once, with its place, and never with a value."""

from __future__ import annotations

import collections
import copy
import os
import pickle
from collections import UserDict
from types import MappingProxyType

import pytest
import yaml
from strongroom import SecretProviderRegistry
from strongroom.errors import (
    ConfigurationError,
    InvalidKeyError,
    SecretNotFoundError,
    SpecError,
    UntrustedSpecError,
)
from strongroom.plugins.builtins import AuditConfig, CachingConfig, ReadOnlyConfig, RetryConfig
from strongroom.plugins.builtins_keys import PrefixConfig
from strongroom.spec import load_plan, load_spec
from strongroom.spec.document import plain_scalar
from strongroom.spec.loader import _SAMPLES
from strongroom.spec.locate import find_plan
from strongroom.spec.references import ReferenceSources, UnresolvedError, resolve
from strongroom_memory import MemorySecretProvider
from strongroom_memory.config import MemoryConfig


def problems(tmp_path, text, **kwargs):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_plan(path, **kwargs)
    return [problem.replace(f"{path}:", "") for problem in caught.value.problems]


def plan(tmp_path, text, **kwargs):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return load_plan(path, **kwargs)


MEMORY = "version: 1\npipelines:\n  app: {provider: {type: memory}}\n"


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


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("memory", "pipelines.app: expected a mapping, such as {provider: {type: memory}}"),
        ("{provider: memory}", "pipelines.app.provider: expected a mapping, such as {type: memory}"),
        ("{provider: {type: }}", "provider.type: expected text, and nothing is given"),
        ("{provider: {type: [memory]}}", "provider.type: expected text"),
        ("{provider: {type: 5}}", "provider.type: expected text; quote it"),
        ("{provider: {type: file, file_path: }}", "file_path: expected text, and nothing is given"),
        ("{provider: {type: memory}, middleware: caching}", "expected a list, such as [{type: caching}]"),
        ("{provider: {type: memory}, middleware: [caching]}", "expected a mapping, such as {type: caching}"),
        ("{provider: {type: memory}, hooks: [audit]}", "expected a mapping, such as {type: audit}"),
        (
            "{provider: {type: memory}, middleware: [{type: caching, l2: redis}]}",
            "l2: a component needs its `type`, as in {type: NAME}",
        ),
    ],
)
def test_another_shape_than_expected_is_told_with_an_example(tmp_path, pipeline, expected):
    (found,) = problems(tmp_path, f"version: 1\npipelines: {{app: {pipeline}}}\n", look_up=False)
    assert found.endswith(expected)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("secrets: [A]", "secrets: expected a mapping, such as {NAME: {key: a/key}}"),
        ("secrets: {A: {generate: true}}", "generate: expected a mapping, such as {length: 32}"),
        ("secrets: {A: {rotate: {command: ./x}}}", "expected a list, such as [./program, --option]"),
        ("routes: {a/: app}", "routes: expected a list, such as [{prefix: a/, pipeline: app}]"),
        (
            "secrets: {1a: {key: a}}",
            "secrets.1a: a name that is not allowed here; letters, digits and '_', not",
        ),
        (
            "secrets: {A: {rotate: {rotator: {type: http, url: x, hmac_key: '0123456789'}}}}",
            "url: expected an address that begins with http:// or https://",
        ),
        ("serve: {socket_mode: '9', clients: []}", "socket_mode: expected text that matches '^0?[0-7]{3}$'"),
    ],
)
def test_a_wrong_section_is_told_in_our_own_words_with_an_example(tmp_path, more, expected):
    (found,) = problems(tmp_path, f"{MEMORY}{more}\n")
    assert expected in found


def test_the_examples_in_messages_are_right():
    """Each is good where its message is shown."""
    for place, sample in _SAMPLES:
        pipelines = {name: {"provider": {"type": "memory"}} for name in ("app", "other")}
        at = whole = {"version": 1, "pipelines": pipelines}
        for index, one in enumerate(place):
            name = one if one != "*" else {"secrets": "A", "profiles": "test"}.get(place[0], "new")
            if isinstance(at, list):
                at.append(yaml.safe_load(sample))
            elif index == len(place) - 1:
                at[name] = yaml.safe_load(sample)
            else:
                is_list = place[index + 1] == "*" and one in {"middleware", "hooks", "routes"}
                at = at.setdefault(name, [] if is_list else {})
        for pipeline in pipelines.values() if whole["pipelines"] is pipelines else ():
            if "fallback" not in pipeline:
                pipeline.setdefault("provider", {"type": "memory"})
        whole.setdefault("default", "app")
        load_plan(whole, look_up=False)


@pytest.mark.parametrize("written", ['""', '"${env:T_PATH:-}"', '"${file:empty}"'])
@pytest.mark.parametrize(
    ("options", "place"),
    [
        ("provider: {type: file, file_path: EMPTY, key_file: k}", "provider.file_path"),
        ("provider: {type: file, file_path: f, key_file: EMPTY}", "provider.key_file"),
        ("provider: {type: directory, path: EMPTY}", "provider.path"),
        ("provider: {type: memory}, hooks: [{type: audit, path: [a, EMPTY]}]", "hooks[0].path"),
    ],
)
def test_an_empty_path_is_not_taken_for_the_specs_folder(tmp_path, monkeypatch, options, place, written):
    (tmp_path / "empty").touch()
    monkeypatch.setenv("T_PATH", "set")
    path = tmp_path / "s.yaml"
    path.write_text(f"version: 1\npipelines: {{app: {{{options.replace('EMPTY', written)}}}}}\n")
    if "env" in written:
        find_plan(path)  # what is remembered of a good path must not answer for an empty one
        monkeypatch.setenv("T_PATH", "")
    with pytest.raises(SpecError) as refused:
        SecretProviderRegistry(path)
    assert f"pipelines.app.{place}: the path is empty; the spec's folder is '.'" in str(refused.value)


@pytest.mark.parametrize("version", ["true", "1.0", "'1'", "2", "null", "[1]"])
def test_the_version_is_the_number_one(tmp_path, version):
    assert problems(tmp_path, MEMORY.replace("version: 1", f"version: {version}")) == [
        "1:10: version: expected 1" + (", without quotes" if version == "'1'" else "")
    ]


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("{type: vault, url: vault.example.com, token: t}", "http:// or https://"),
        ("{type: azure, vault_url: 'http://x'}", "https://"),
        ("{type: postgresql, url: db.example.com, encryption_key: long-enough-words}", "postgresql://"),
    ],
)
def test_an_address_that_is_none_is_refused_without_a_pattern(tmp_path, provider, expected):
    (problem,) = problems(tmp_path, f"version: 1\npipelines: {{app: {{provider: {provider}}}}}\n")
    assert problem.endswith(f"url: expected an address that begins with {expected}")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("min_length: -1", "expected at least 0"),
        ("one_of: []", "expected at least 1 item"),
        ("type: strin", "expected 'string', 'integer', "),
        ("generate: {length: 0}", "expected at least 8"),
        ("generate: {length: 999999}", "expected at most 4096"),
    ],
)
def test_a_rule_that_is_broken_says_what_is_expected(tmp_path, rules, expected):
    (problem,) = problems(tmp_path, f"{MEMORY}secrets: {{A: {{{rules}}}}}\n")
    assert f": {expected}" in problem


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("provider: {type: retry}", "'retry' is middleware, for `middleware:`"),
        (
            "provider: {type: memory}, middleware: [{type: file}]",
            "'file' is a provider, for `provider:`",
        ),
        ("provider: {type: memory}, middleware: [{type: audit}]", "'audit' is a hook, for `hooks:`"),
        (
            "provider: {type: memory}, middleware: [{type: aes-gcm}]",
            "'aes-gcm' is a cipher, for `cipher:` of {type: encryption}",
        ),
        (
            "provider: {type: redis}",
            "'redis' is a cache store, for `l2:` of {type: caching}, or a rotator, for `rotate: {rotator: …}` of a secret",
        ),
    ],
)
def test_a_component_in_the_place_of_another_kind_is_told_its_own(tmp_path, parts, expected):
    (problem,) = problems(tmp_path, f"version: 1\npipelines: {{a: {{{parts}}}}}\n")
    assert problem.endswith(f"; {expected}")


def test_every_problem_is_told_with_line_column_path_and_nearest_name(tmp_path):
    text = (
        "version: 2\n"
        "pipelines:\n"
        "  app:\n"
        "    provider: {type: memroy}\n"
        "    middleware:\n"
        "      - {type: retry, attempts: abc, max_secnds: 1}\n"
        "  app: {provider: {type: memory}}\n"
        "routes: [{prefix: a, pipeline: apq}]\n"
        "deflt: app\n"
    )
    assert problems(tmp_path, text) == [
        "1:10: version: expected 1",
        "4:22: pipelines.app.provider.type: unknown provider 'memroy'; did you mean 'memory'?",
        "6:33: pipelines.app.middleware[0].attempts: expected a whole number",
        "6:38: pipelines.app.middleware[0].max_secnds: unknown key; did you mean 'max_seconds'?",
        "7:3: pipelines.app: duplicate key, first at 3:3",
        "8:32: routes[0].pipeline: no pipeline 'apq'; did you mean 'app'?",
        "9:1: deflt: unknown key; did you mean 'default'?",
    ]


def test_missing_variables_and_files_are_told_together_with_all_else(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    text = MEMORY + (
        "  b:\n"
        "    provider: {type: env, prefix: '${env:NO_SUCH}'}\n"
        "    middleware: [{type: prefix, prefix: '${file:none.txt}'}, {type: retry, attempts: x}]\n"
    )
    found = problems(tmp_path, text)
    assert [line.split(": ", 2)[:2] for line in found] == [
        ["5:35", "pipelines.b.provider.prefix"],
        ["6:41", "pipelines.b.middleware[0].prefix"],
        ["6:86", "pipelines.b.middleware[1].attempts"],
    ]
    assert "NO_SUCH" in found[0]
    assert "none.txt" in found[1]


def test_each_missing_reference_of_one_text_is_told(tmp_path):
    """Not just the first, which would make the user start again for each."""
    text = "version: 1\npipelines: {app: {provider: {type: env, prefix: '${env:NOPE_A}${file:no}${env:NOPE_B}'}}}\n"
    missing = [problem.partition(";")[0] for problem in problems(tmp_path, text)]
    assert missing == [
        "2:49: pipelines.app.provider.prefix: the environment variable NOPE_A is not set",
        "2:49: pipelines.app.provider.prefix: the environment variable NOPE_B is not set",
        "2:49: pipelines.app.provider.prefix: the file no does not exist",
    ]


def test_without_looking_up_neither_environment_nor_files_matter(tmp_path):
    text = MEMORY + "  b: {provider: {type: env, prefix: '${env:NO_SUCH}'}}\n"
    assert set(plan(tmp_path, text, look_up=False).pipelines) == {"app", "b"}


def test_only_the_references_of_the_chosen_pipeline_and_its_needs_are_looked_up(tmp_path):
    text = MEMORY + "  b: {provider: {type: env, prefix: '${env:NO_SUCH}'}}\ndefault: app\n"
    assert set(plan(tmp_path, text, pipeline="app").pipelines) == {"app", "b"}
    assert problems(tmp_path, text, pipeline="b")


def test_only_the_chosen_profile_is_resolved(tmp_path):
    text = MEMORY + (
        "profiles:\n  broken: {pipelines: {app: {provider: {type: env, prefix: '${env:NO_SUCH}'}}}}\n"
    )
    assert plan(tmp_path, text).pipelines["app"].provider.type == "memory"
    assert problems(tmp_path, text, profile="broken")[0].startswith("5:")


@pytest.mark.parametrize(
    ("scalar", "wrong"),
    [("on", True), ("no", True), ("0600", True), ("yes", True), ("1e3", True), ("true", False), ("3", True)],
)
def test_plain_scalars_are_not_guessed(tmp_path, scalar, wrong):
    text = f"{MEMORY}routes: [{{prefix: a/, pipeline: app, strip_prefix: {scalar}}}]\n"
    if wrong:
        assert "strip_prefix: expected true or false" in problems(tmp_path, text)[0]
    else:
        assert plan(tmp_path, text).routes[0].strip_prefix is True


@pytest.mark.parametrize("text", ["0600", "on", "2026-11-24", "~x", "1_000", "+1", "0x10", ".5", "00"])
def test_what_looks_odd_is_text(tmp_path, text):
    assert plan(tmp_path, f"{MEMORY}routes: [{{prefix: {text}, pipeline: app}}]\n").routes[0].prefix == text


def test_a_lone_reference_may_stand_for_an_option_of_any_type_and_is_converted_strictly(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ATTEMPTS", "7")
    text = (
        "version: 1\npipelines:\n  app:\n    provider: {type: memory}\n"
        "    middleware: [{type: retry, attempts: '${env:ATTEMPTS}'}]\n"
    )
    component = plan(tmp_path, text).pipelines["app"].middleware[0]
    assert component.prepare(None)["attempts"] == 7
    monkeypatch.setenv("ATTEMPTS", "hunter2")
    found = problems(tmp_path, text)
    assert found == ["5:42: pipelines.app.middleware[0].attempts: expected a whole number"]


def test_a_reference_inside_a_number_stays_wrong(tmp_path):
    text = (
        "version: 1\npipelines:\n  app:\n    provider: {type: memory}\n"
        "    middleware: [{type: retry, attempts: '1${env:ATTEMPTS}'}]\n"
    )
    assert "expected a whole number" in problems(tmp_path, text, look_up=False)[0]


def test_what_a_reference_brings_in_is_never_interpolated_or_parsed(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTER", "${env:INNER}")
    monkeypatch.setenv("NUMBER", "0123")
    text = (
        "version: 1\npipelines:\n  app: {provider: {type: env, prefix: '${env:OUTER}'}}\n"
        "  b: {provider: {type: env, prefix: 'P_${env:NUMBER}_'}}\n"
        "  c: {provider: {type: env, prefix: '$${env:OUTER}$'}}\ndefault: app\n"
    )
    pipelines = plan(tmp_path, text).pipelines
    assert pipelines["app"].provider.prepare(None)["prefix"] == "${env:INNER}"
    assert pipelines["b"].provider.prepare(None)["prefix"] == "P_0123_"
    assert pipelines["c"].provider.prepare(None)["prefix"] == "${env:OUTER}$"


def test_the_default_of_a_reference_serves_unset_and_empty(tmp_path, monkeypatch):
    text = "version: 1\npipelines:\n  app: {provider: {type: env, prefix: '${env:P:-X_}'}}\n"
    for value, expected in ((None, "X_"), ("", "X_"), ("Y_", "Y_")):
        monkeypatch.delenv("P", raising=False)
        if value is not None:
            monkeypatch.setenv("P", value)
        assert plan(tmp_path, text).pipelines["app"].provider.prepare(None)["prefix"] == expected


@pytest.mark.parametrize(
    "reference",
    ["${nope:x}", "${env:}", "${env:1X}", "${env:X", "${secret:a}", "${file:}", "${}"]
    + [f"${{secret:app:{key}}}" for key in ("/a", "a//b", "../a", "a/.rotation/b", "a/#field")],
)
def test_a_broken_reference_is_told_without_its_text(tmp_path, reference):
    text = f"version: 1\npipelines:\n  app: {{provider: {{type: env, prefix: 'topsecret{reference}'}}}}\n"
    (found,) = problems(tmp_path, text)
    assert found.startswith("3:39: pipelines.app.provider.prefix: ")
    assert "topsecret" not in found


def test_several_tags_and_duplicates_are_all_told(tmp_path):
    text = "version: !!int 1\nversion: 1\npipelines:\n  a: {provider: !x {type: memory}}\n  a: {}\n  a: {}\n"
    found = problems(tmp_path, text)
    assert [line.split(": ")[0] for line in found] == ["1:10", "2:1", "4:17", "5:3", "6:3"]


def test_a_syntax_error_ends_the_list_and_keeps_what_was_found_before(tmp_path):
    found = problems(tmp_path, "version: 1\nversion: 1\nx: [hunter2-secret, 'abc\n")
    assert found[0].startswith("2:1: version: duplicate key")
    assert "not YAML" in found[1]
    assert "hunter2" not in "".join(found)


def test_a_syntax_error_names_the_mark_that_is_missing(tmp_path):
    (found,) = problems(tmp_path, "version: 1\npipelines: {\n  hunter2: 1\n")
    assert found == "4:1: not YAML: did not find expected ',' or '}'"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("version: 1\npïp: ä\0\n".encode(), "2:7: not YAML: a character that YAML does not allow"),
        ("\ufeffversion: \x1b\n".encode(), "1:10: not YAML: a character that YAML does not allow"),
        ("version: 1\n\uffff\n".encode(), "2:1: not YAML: a character that YAML does not allow"),
        ("version: 1\npïp: ".encode() + b"\xff\n", "2:6: the spec is not UTF-8"),
        ("\ufeffversion: 1\npï€: ".encode() + b"\xff\n", "2:6: the spec is not UTF-8"),
        ("\ufeffa: €".encode() + b"\xff\n", "1:5: the spec is not UTF-8"),
        (b"#" * ((1 << 20) + 1), "1:1: the spec is larger than 1 MiB"),
    ],
)
def test_what_cannot_be_read_has_a_line_and_a_column_too(tmp_path, data, found):
    path = tmp_path / "s.yaml"
    path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_plan(path)
    assert caught.value.problems == (f"{path}:{found}",)


def test_a_declaration_with_wrong_members_is_checked_to_its_end(tmp_path):
    """Its other members too, and what is composed of others."""
    found = problems(
        tmp_path,
        MEMORY + "secrets:\n"
        "  A: {type: strin, min_length: 5, max_length: 3, pattern: '('}\n"
        "  B: {kei: x, compose: '{{ NOPE }}'}\n"
        "  C: {rotate_days: 0, default: '${env:X}', generate: {length: 32, require: [nothing, '']}}\n"
        "  D: text\n",
    )
    assert [line.split(": ")[1] for line in found] == [
        "secrets.A.type",
        "secrets.A.max_length",
        "secrets.A.pattern",
        "secrets.B.kei",
        "secrets.B.compose",
        "secrets.C.rotate_days",
        "secrets.C.default",
        "secrets.C.generate",
        "secrets.D",
    ]


def test_an_unquoted_value_with_an_asterisk_is_not_shown(tmp_path):
    found = problems(
        tmp_path, "version: 1\npipelines: {a: {provider: {type: env, prefix: *hunter2secret}}}\n"
    )
    assert "alias" in found[0]
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("of", ["mappings", "lists"])
def test_aliases_nest_no_deeper_than_what_is_written_out(tmp_path, of):
    """Else Python's own limit would end it, without a line."""
    before, after = ("{a: ", "}") if of == "mappings" else ("[", "]")
    text = "version: 1\npipelines: {app: {provider: {type: memory}}}\nx0: &x0 1\n"
    for number in range(1, 50):
        text += f"x{number}: &x{number} {before * 20}*x{number - 1} {after * 20}\n"
    (found,) = problems(tmp_path, text)
    assert found.startswith("5:")
    assert found.endswith("nested deeper than 40 levels")


def test_merge_keys_and_anchors_work(tmp_path):
    text = (
        "version: 1\npipelines:\n"
        "  a: &a\n    provider: &p {type: env, prefix: A_}\n    middleware: [{type: retry}]\n"
        "  b: {<<: *a, middleware: []}\n"
        "  c: {provider: {<<: *p, prefix: C_}}\ndefault: a\n"
    )
    pipelines = plan(tmp_path, text).pipelines
    assert [len(pipelines[name].middleware) for name in "abc"] == [1, 0, 0]
    assert pipelines["c"].provider.prepare(None)["prefix"] == "C_"


@pytest.mark.parametrize(
    ("spec", "circle"),
    [
        ("  a: {fallback: {pipelines: [b]}}\n  b: {fallback: {pipelines: [a]}}\n", "a -> b -> a"),
        ("  a: {fallback: {pipelines: [a]}}\n", "a -> a"),
        ("  a: {provider: {type: env, prefix: '${secret:b:k}'}}\n  b: {provider: {type: env, prefix: '${secret:a:k}'}}\n", "a -> b -> a"),
    ],
)  # fmt: skip
def test_circles_are_found_at_load(tmp_path, spec, circle):
    found = problems(tmp_path, f"version: 1\npipelines:\n{spec}", look_up=False)
    assert any(circle in line for line in found)


@pytest.mark.parametrize("pipeline", ["{}", "{hooks: []}", "{provider: null}"])
def test_a_pipeline_needs_a_provider_or_a_fallback(tmp_path, pipeline):
    found = problems(tmp_path, f"version: 1\npipelines:\n  a: {pipeline}\n")
    assert "needs a provider, or a fallback" in found[0]


def test_a_pipeline_has_not_both(tmp_path):
    both = "version: 1\npipelines:\n  a: {provider: {type: memory}, fallback: {pipelines: [b]}}\n  b: {provider: {type: memory}}\n"
    assert "not both" in problems(tmp_path, both)[0]


def test_a_pipeline_that_is_not_there_is_told_where_it_is_named(tmp_path):
    text = (
        "version: 1\npipelines:\n  app:\n    provider: {type: memory}\n"
        "    middleware:\n      - {type: prefix, prefix: 'a${secret:ap:k}'}\n"
        "  safe:\n    fallback:\n      pipelines: [app, nope]\n"
    )
    assert problems(tmp_path, text, look_up=False) == [
        "6:32: pipelines.app.middleware[0].prefix: no pipeline 'ap'; did you mean 'app'?",
        "9:24: pipelines.safe.fallback.pipelines[1]: no pipeline 'nope'; there are: app, safe",
    ]


@pytest.mark.parametrize("prefix", ["team-", "team/x", "/.", "${env:PREFIX_FOR_A_TEST}"])
def test_a_prefix_ends_with_a_slash(tmp_path, prefix, monkeypatch):
    monkeypatch.setenv("PREFIX_FOR_A_TEST", "team")
    text = (
        f"version: 1\npipelines:\n  app:\n    provider: {{type: memory}}\n"
        f"    middleware:\n      - {{type: prefix, prefix: '{prefix}'}}\n"
    )
    assert problems(tmp_path, text) == ["6:32: pipelines.app.middleware[0].prefix: it does not end with '/'"]


def test_the_prefix_of_a_route_that_strips_it_ends_with_a_slash(tmp_path):
    text = MEMORY + "routes:\n  - {prefix: s-, pipeline: app, strip_prefix: true}\n"
    assert problems(tmp_path, text) == [
        "5:14: routes[0].prefix: with `strip_prefix` it must end with '/'",
    ]
    kept = MEMORY + "routes:\n  - {prefix: s-, pipeline: app}\n"
    assert plan(tmp_path, kept).routes[0].prefix == "s-"


@pytest.mark.parametrize("prefix", [".rotation/", "a/.rotation/", ".rotation/b"])
@pytest.mark.parametrize("strips", ["true", "false"])
def test_a_route_for_reserved_keys_alone_is_refused(tmp_path, prefix, strips):
    """Else nothing could be listed: its pipeline, which would strip the prefix, cannot be made."""
    text = MEMORY + f"routes:\n  - {{prefix: {prefix}, pipeline: app, strip_prefix: {strips}}}\n"
    said = "5:14: routes[0].prefix: no key begins so: the segment '.rotation' is reserved"
    assert said in problems(tmp_path, text)
    with pytest.raises(InvalidKeyError, match="no key begins with"):
        SecretProviderRegistry({"version": 1}).register("app", MemorySecretProvider(), prefix=prefix)
    others = MEMORY + "routes:\n  - {prefix: .rotation, pipeline: app}\n"
    assert plan(tmp_path, others).routes[0].prefix == ".rotation"  # of `.rotations/b`, say


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ('"a\\u0007"', "invalid prefix 'a\\x07': a control character or lone surrogate"),
        ('"a\\u2028/"', "invalid prefix 'a\\u2028/': a control character or lone surrogate"),
        ("a//", "no key begins so: an empty, '.' or '..' segment"),
        ('"${env:TEAM}/"', "references are looked up only in the options of components"),
        ("[a/]", "expected text"),
        ("{a: b}", "expected text"),
        ("5", "expected text; quote it"),
        ("a" * 513, "expected at most 512 characters"),
    ],
)
def test_a_route_that_no_key_can_take_is_refused_beside_all_else(tmp_path, prefix, said):
    """Before, listing failed; a list was a `TypeError`; and a reference was a prefix of its own text."""
    text = MEMORY + f"routes:\n  - {{pipeline: apq, prefix: {prefix}}}\n"
    assert problems(tmp_path, text) == [
        "5:16: routes[0].pipeline: no pipeline 'apq'; did you mean 'app'?",
        f"5:29: routes[0].prefix: {said}",
    ]


def test_a_slash_that_a_reference_brings_in_ends_a_prefix(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFIX_FOR_A_TEST", "team/")
    text = MEMORY + (
        "  b:\n    provider: {type: memory}\n"
        "    middleware: [{type: prefix, prefix: '${env:PREFIX_FOR_A_TEST}'}]\n"
    )
    assert plan(tmp_path, text).pipelines["b"].middleware[0].type == "prefix"


def test_profiles_merge_deeply_and_replace_lists_and_changed_types(tmp_path):
    text = (
        "version: 1\npipelines:\n"
        "  app:\n    provider: {type: env, prefix: A_}\n    middleware: [{type: retry}, {type: read-only}]\n"
        "profiles:\n"
        "  one: {pipelines: {app: {provider: {prefix: B_}}}}\n"
        "  two: {pipelines: {app: {provider: {type: memory}, middleware: [{type: retry}]}}}\n"
    )
    one = plan(tmp_path, text, profile="one").pipelines["app"]
    assert one.provider.prepare(None)["prefix"] == "B_"
    assert len(one.middleware) == 2
    two = plan(tmp_path, text, profile="two").pipelines["app"]
    assert (two.provider.type, len(two.middleware)) == ("memory", 1)
    with pytest.raises(ConfigurationError, match="did you mean 'one'"):
        plan(tmp_path, text, profile="onne")


def test_problems_of_a_profile_point_into_the_profile(tmp_path):
    text = MEMORY + "profiles:\n  t: {pipelines: {app: {provider: {tipe: x}}}}\n"
    assert problems(tmp_path, text, profile="t")[0].startswith(
        "5:36: pipelines.app.provider.tipe: unknown key"
    )


@pytest.mark.parametrize("shape", ["", "[]", "x"])
def test_a_profile_that_is_no_mapping_is_told_beside_all_else(tmp_path, shape):
    """Chosen, it took the place of the whole spec, so that nothing else was reported."""
    text = f"{MEMORY}deflt: app\nprofiles:\n  t: {shape}\n"
    assert problems(tmp_path, text, profile="t") == problems(tmp_path, text)
    assert len(problems(tmp_path, text)) == 2


@pytest.mark.parametrize(
    "inner", ["env:A:-${env:B}", "env:A:-$${env:B}", "file:${env:A}/key", "secret:app:${env:A}"]
)
def test_a_reference_inside_another_one_is_refused(tmp_path, inner):
    """It ended at the first brace, and the rest of its text counted as text."""
    text = MEMORY + f"  b: {{provider: {{type: env, prefix: 'x ${{{inner}}}'}}}}\n"
    (said,) = problems(tmp_path, text)
    assert said.startswith("4:37: pipelines.b.provider.prefix: a reference inside another one")


@pytest.mark.parametrize("shape", ["[5]", "[-1]", "[[5]]", "[{}]", "5", "x", "true", ""])
def test_a_declaration_that_is_no_mapping_is_told_as_such(tmp_path, shape):
    """A list of a number was an `IndexError`."""
    (said,) = problems(tmp_path, f"{MEMORY}secrets: {{A: {shape}}}\n")
    assert said.startswith("4:14: secrets.A: expected a mapping, such as {key: a/key}")


def test_untrusted_files_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "s.yaml"
    path.write_text(MEMORY)
    path.chmod(0o666)
    with pytest.raises(UntrustedSpecError, match="everybody may write it"):
        load_plan(path)
    monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
    assert load_plan(path).default == "app"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_spec_of_another_user_is_refused(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(MEMORY)
    os.chown(path, 12345, 12345)
    with pytest.raises(UntrustedSpecError, match="12345"):
        load_plan(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_strangers_link_to_a_spec_is_refused(tmp_path):
    """Whoever may make a link in a shared folder does not choose which spec, key and log are used."""
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    shared.mkdir()
    (own / "s.yaml").write_text(MEMORY)
    link, second = shared / "s.yaml", shared / "t.yaml"
    link.symlink_to(own / "s.yaml")
    second.symlink_to("s.yaml")
    assert load_plan(second).folder == own
    os.chown(link, 12345, 12345, follow_symlinks=False)
    for path in (link, second):
        with pytest.raises(UntrustedSpecError, match=r"link .* belongs to user 12345"):
            load_plan(path)


def test_a_file_that_others_decide_is_no_reference(tmp_path, monkeypatch):
    """`${file:}` takes no text that everybody may write, nor a stranger's; a pipe does not hold it up."""
    key = tmp_path / "app.key"
    key.write_text("text-of-the-file")

    def resolved():
        return resolve("${file:./app.key}", ReferenceSources({}, tmp_path, str))

    assert resolved() == "text-of-the-file"
    key.chmod(0o666)
    with pytest.raises(UnresolvedError, match="everybody may write it"):
        resolved()
    monkeypatch.setenv("STRONGROOM_TRUST_SPEC", "1")
    assert resolved() == "text-of-the-file"
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC")
    key.unlink()
    os.mkfifo(key)
    with pytest.raises(UnresolvedError, match="not a regular file"):
        resolved()


def test_what_is_no_file_is_refused_without_hanging(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "none.yaml", tmp_path / "fifo"):
        with pytest.raises(ConfigurationError):
            load_plan(path)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00",
        b"",
        b"# only a comment\n",
        b"a\n---\nb\n",
        b"\x00",
        b"version: 1\n" + b" " * (1 << 20),
    ],
)
def test_what_is_no_single_utf8_document_is_refused(tmp_path, data):
    path = tmp_path / "s.yaml"
    path.write_bytes(data)
    with pytest.raises(SpecError):
        load_plan(path)


def test_a_spec_loads_with_a_byte_order_mark_and_crlf(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + MEMORY.replace("\n", "\r\n").encode())
    assert load_spec(path).pipelines["app"].provider.type == "memory"


def test_a_mapping_and_a_spec_object_load_alike(tmp_path):
    mapping = {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    assert load_plan(mapping).default == "app"
    assert load_plan(load_spec(mapping)).default == "app"
    with pytest.raises(SpecError, match="spec: pipelines: expected a mapping"):
        load_plan({"version": 1, "pipelines": 3})
    with pytest.raises(SpecError, match="a key of a mapping"):
        load_plan({1: 2})


def test_no_part_of_a_spec_shows_the_options_of_a_component():
    """A token or a key may be written there, as in `repr` of the whole."""
    vault = {"type": "vault", "url": "https://x", "token": "hunter2"}
    spec = load_spec(
        {
            "version": 1,
            "pipelines": {
                "app": {
                    "provider": vault,
                    "middleware": [{"type": "encryption", "key": "hunter2-hunter2"}],
                    "hooks": [{"type": "audit", "path": "a", "key": "hunter2-hunter2"}],
                }
            },
            "rotation_lock": {"type": "redis", "url": "redis://:hunter2@x"},
            "serve": {"clients": [{"name": "web", "token": "hunter2-hunter2-hunter2"}]},
            "profiles": {"test": {"pipelines": {"app": {"provider": vault}}}},
        }
    )
    app = spec.pipelines["app"]
    assert app.provider.token == "hunter2"
    assert repr(app.provider) == "Component(type='vault')"
    assert spec.profiles == {"test": {"pipelines": {"app": {"provider": vault}}}}
    assert spec.serve == {"clients": [{"name": "web", "token": "hunter2-hunter2-hunter2"}]}
    assert repr(spec.profiles) == "<test>"
    sections = (spec.serve, spec.serve["clients"], spec.profiles["test"]["pipelines"])
    for part in (spec, app, app.provider, app.middleware, app.hooks, spec.rotation_lock, *sections):
        assert "hunter2" not in f"{part!r}{part}"


def test_a_spec_of_mappings_of_any_type_loads():
    provider = MappingProxyType({"type": "memory"})
    pipelines = UserDict(app=MappingProxyType({"provider": provider, "middleware": ({"type": "retry"},)}))
    (part,) = load_plan(MappingProxyType({"version": 1, "pipelines": pipelines})).pipelines["app"].middleware
    assert part.type == "retry"


def test_each_thing_of_python_that_cannot_be_in_a_spec_is_told_with_its_path():
    """Beside all else that is wrong; before, the first alone, without its path."""
    provider = {"type": "memory", "secrets": {"a": b"hunter2"}}
    mapping = {
        "version": 2,
        "pipelines": {"app": {"provider": provider, "middleware": [{"type": "caching", 5: 1}]}},
        "hooks": {"hunter2"},
    }
    with pytest.raises(SpecError) as caught:
        load_plan(mapping)
    assert {
        "spec: version: expected 1",
        "spec: pipelines.app.provider.secrets.a: expected a mapping, list or scalar, got bytes",
        "spec: pipelines.app.middleware[0]: a key of a mapping must be text, got int",
        "spec: hooks: expected a mapping, list or scalar, got set",
    } <= set(caught.value.problems)
    assert "hunter2" not in str(caught.value)


def test_a_mapping_that_holds_itself_is_refused_at_once():
    mapping = {"version": 1}
    mapping |= {"pipelines": mapping, "hooks": [mapping, mapping]}
    with pytest.raises(SpecError, match="nested deeper than 40 levels"):
        load_plan(mapping)


def test_literal_values_of_wrong_options_are_in_no_error(tmp_path):
    text = (
        "version: 1\npipelines:\n  app:\n    provider: {type: memory}\n    middleware:\n"
        "      - {type: retry, attempts: hunter2-secret}\n"
        "      - {type: validation, max_length: [hunter2-secret], forbid: hunter2-secret}\n"
        "secrets: {A: {key: a, type: hunter2-secret, min_length: hunter2-secret, default: [hunter2-secret]}}\n"
    )
    found = problems(tmp_path, text)
    assert len(found) >= 5
    assert "hunter2" not in "\n".join(found)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("pattern: '('", "not a regular expression"),
        ("key: a//b", "invalid key"),
        ("key: a/.rotation/b", "reserved"),
        ("key: '${env:STAGE}/a'", "secrets.NAME.key: references are looked up only in the options"),
        ("default: 'x${file:a}'", "secrets.NAME.default: references are looked up only in the options"),
        ("min_length: 5, max_length: 4", "less than min_length"),
        ("generate: {lenght: 3}", "did you mean 'length'"),
        (
            "generate: {length: 8, require: [a, b, c, d, e, f, g, h, i]}",
            "secrets.NAME.generate: generate_password: length 8 cannot hold 9 required classes",
        ),
        (
            "rotate: {generator: {type: password, length: 8, require: [a, b, c, d, e, f, g, h, i]}}",
            "secrets.NAME.rotate.generator: generate_password: length 8 cannot hold 9 required classes",
        ),
    ],
)
def test_declared_secrets_are_checked_at_load(tmp_path, declared, expected):
    assert expected in problems(tmp_path, f"{MEMORY}secrets: {{NAME: {{{declared}}}}}\n")[0]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (
            "'${env:PASSWORD}'",
            "expected a mapping; references are looked up only in the options of components; ",
        ),
        ("hunter22", "expected a mapping, such as {key: a/key}"),
        ("[hunter22]", "expected a mapping, such as {key: a/key}"),
    ],
)
def test_what_is_written_in_place_of_a_declaration_is_told_what_one_is(tmp_path, declared, expected):
    (found,) = problems(tmp_path, f"{MEMORY}secrets: {{NAME: {declared}}}\n")
    assert f"secrets.NAME: {expected}" in found
    assert "hunter22" not in found
    assert ("{type: env}" in found) == ("env:" in declared)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("whsec_$$$$", "what follows `whsec_` is not base64"),
        ("whsec_QQ==", "what follows `whsec_` stands for 1 bytes"),
    ],
)
def test_a_key_of_signatures_that_is_not_one_is_told_at_load(tmp_path, key, expected):
    rotate = f"{{rotator: {{type: http, url: 'https://a.example/', hmac_key: '{key}'}}}}"
    (found,) = problems(tmp_path, f"{MEMORY}secrets: {{NAME: {{key: a, rotate: {rotate}}}}}\n")
    assert expected in found
    assert key not in found
    good = "whsec_" + "QUJDREVGR0g="
    plan(tmp_path, f"{MEMORY}secrets: {{NAME: {{key: a, rotate: {rotate.replace(key, good)}}}}}\n")


def test_a_default_may_be_written_as_a_number(tmp_path):
    secret = plan(tmp_path, f"{MEMORY}secrets: {{PORT: {{type: port, default: 5432}}}}\n").secrets["PORT"]
    assert (secret.default, secret.key) == ("5432", "PORT")


@pytest.mark.parametrize(
    "written",
    [
        "3.10",
        "1.50",
        "100.00",
        "-1.20",
        "-0",
        "0.0",
        "12345678901234567.5",
        "0.1000000000000000055",
        "0600",
        "7",
    ],
)
def test_a_number_keeps_its_own_text(tmp_path, written):
    text = (
        f"{MEMORY}placeholders: [{written}]\n"
        f"secrets: {{V: {{default: {written}, one_of: [{written}], forbid: [{written}]}}}}\n"
        f"profiles: {{p: {{secrets: {{V: {{description: x}}}}}}}}\n"
    )
    for profile in (None, "p"):
        loaded = plan(tmp_path, text, profile=profile)
        secret = loaded.secrets["V"]
        assert secret.default == written
        assert secret.one_of == (written,)
        assert secret.forbid == (written,)
        assert secret.placeholders == (written,)


def test_a_number_that_keeps_its_text_is_a_number_all_the_same():
    number = plain_scalar("3.10")
    assert number == 3.1
    assert (str(number), f"{number}", repr(number + 1)) == ("3.10", "3.10", "4.1")
    for copied in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):  # our own
        assert str(copied) == "3.10"


@pytest.mark.parametrize("version", [True, 1.0, "1", None])
def test_a_version_that_only_equals_one_is_wrong(version):
    spec = {"version": version, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    with pytest.raises(SpecError, match="version: expected 1"):
        load_plan(spec)
