"""A spec is loaded as it is written; all its problems are told at once, each with its place."""

from __future__ import annotations

import pytest
import yaml
from spec_support import MEMORY, plan, problems
from strongroom import SecretProviderRegistry
from strongroom.errors import ConfigurationError, InvalidKeyError, SpecError
from strongroom.spec import load_plan
from strongroom.spec.loader import _SAMPLES
from strongroom.spec.locate import find_plan
from strongroom_memory import MemorySecretProvider


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


@pytest.mark.parametrize("version", [True, 1.0, "1", None])
def test_a_version_that_only_equals_one_is_wrong(version):
    spec = {"version": version, "pipelines": {"app": {"provider": {"type": "memory"}}}}
    with pytest.raises(SpecError, match="version: expected 1"):
        load_plan(spec)
