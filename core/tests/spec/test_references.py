"""References to the environment, to files and to other secrets: what is looked up, and what it becomes."""

from __future__ import annotations

import os

import pytest
from spec_support import MEMORY, plan, problems
from strongroom.spec.references import ReferenceSources, UnresolvedError, resolve


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


def test_a_slash_that_a_reference_brings_in_ends_a_prefix(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFIX_FOR_A_TEST", "team/")
    text = MEMORY + (
        "  b:\n    provider: {type: memory}\n"
        "    middleware: [{type: prefix, prefix: '${env:PREFIX_FOR_A_TEST}'}]\n"
    )
    assert plan(tmp_path, text).pipelines["b"].middleware[0].type == "prefix"


@pytest.mark.parametrize(
    "inner", ["env:A:-${env:B}", "env:A:-$${env:B}", "file:${env:A}/key", "secret:app:${env:A}"]
)
def test_a_reference_inside_another_one_is_refused(tmp_path, inner):
    """It ended at the first brace, and the rest of its text counted as text."""
    text = MEMORY + f"  b: {{provider: {{type: env, prefix: 'x ${{{inner}}}'}}}}\n"
    (said,) = problems(tmp_path, text)
    assert said.startswith("4:37: pipelines.b.provider.prefix: a reference inside another one")


def test_a_file_that_others_decide_is_no_reference(tmp_path, monkeypatch):
    """`${file:}` takes no text that everybody may write, nor a stranger's; a pipe does not hold it up."""
    key = tmp_path / "app.key"
    key.write_text("text-of-the-file")

    def resolved():
        return resolve("${file:./app.key}", ReferenceSources({}, tmp_path, str))

    assert resolved() == "text-of-the-file"
    monkeypatch.delenv("STRONGROOM_TRUST_SPEC", raising=False)
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
