"""`secrets:` is checked as a spec is loaded; numbers keep their text."""

from __future__ import annotations

import copy
import pickle

import pytest
from spec_support import MEMORY, plan, problems
from strongroom.spec.document import plain_scalar


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


@pytest.mark.parametrize("shape", ["[5]", "[-1]", "[[5]]", "[{}]", "5", "x", "true", ""])
def test_a_declaration_that_is_no_mapping_is_told_as_such(tmp_path, shape):
    """A list of a number was an `IndexError`."""
    (said,) = problems(tmp_path, f"{MEMORY}secrets: {{A: {shape}}}\n")
    assert said.startswith("4:14: secrets.A: expected a mapping, such as {key: a/key}")


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
