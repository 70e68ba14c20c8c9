"""Keys and names: there and back, injective, the identity wherever it can be."""

from __future__ import annotations

import random
import re

import pytest
from strongroom.errors import InvalidKeyError
from strongroom.keys import check_key
from strongroom_aws.names import description_of, key_of, name_filter, name_of
from strongroom_aws.parameter_names import MAX_LEVELS, folder_of, parameter_key_of, parameter_name_of

SECRET_NAME = re.compile(r"(?:rds!|events!)?[A-Za-z0-9/_+=.@-]{1,512}")
PARAMETER_NAME = re.compile(r"(/[A-Za-z0-9_.-]+){1,15}")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("prod/db+a=b.c@d-e_f", "prod/db+a=b.c@d-e_f"),
        ("name-AbCdEf", "name-AbCdEf"),
        ("k" * 512, "k" * 512),
        ("with space", "with=_20space"),
        ("a=_20b", "a==_5f20b"),
        ("ü", "=_c3=_bc"),
        ("rds!cluster-1a96bebc", "rds!cluster-1a96bebc"),
        ("events!connection/a=_20b", "events!connection/a=_20b"),
        ("rds!", "rds=_21"),
        ("rds!a!b", "rds=_21a=_21b"),
        ("mine!a", "mine=_21a"),
        ("my/rds!a", "my/rds=_21a"),
    ],
)
def test_names_of_secrets(key, name):
    assert name_of(key).text == name
    assert key_of(name, None) == key


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a/b", "/a/b"),
        ("a.b_c-d", "/a.b_c-d"),
        ("aws/key", "/-.61ws/key"),
        ("SSMx", "/-.53SMx"),
        ("a-.2fb", "/a--.2e2fb"),
        ("a b", "/a-.20b"),
        ("/".join("abcdefghijklmnop"), "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o-.2fp"),
    ],
)
def test_names_of_parameters(key, name):
    assert parameter_name_of(key).text == name
    assert parameter_key_of(name) == key


def _keys(count, seed=4):
    chosen = random.Random(seed)
    pieces = [
        *"aA09-_.=+@/ é€😀h!",
        "rds!",
        "events!",
        "=_",
        "-.",
        "=_20",
        "-.2f",
        "=_h",
        "-.h",
        "aws",
        "ssm",
        ".rotation",
        "k" * 200,
    ]
    while count:
        key = "".join(chosen.choice(pieces) for _ in range(chosen.randint(1, 24)))
        try:
            yield check_key(key)
        except InvalidKeyError:
            continue
        count -= 1


@pytest.mark.parametrize("count", [1000, pytest.param(3000, marks=pytest.mark.torture)])
def test_names_are_good_and_lead_back_and_no_two_keys_share_one(count):
    keys = set(_keys(count))
    secrets, parameters = {}, {}
    for key in keys:
        name = name_of(key)
        assert SECRET_NAME.fullmatch(name.text)
        assert key_of(name.text, description_of(key) if name.hashed else None) == key
        assert secrets.setdefault(name.text, key) == key
        path = parameter_name_of(key)
        assert PARAMETER_NAME.fullmatch(path.text)
        assert len(path.text) <= 1011
        assert path.text.count("/") <= MAX_LEVELS
        assert not path.text.lower().startswith(("/aws", "/ssm"))
        assert parameter_key_of(path.text, description_of(key) if path.hashed else None) == key
        assert parameters.setdefault(path.text, key) == key
    assert len(secrets) == len(parameters) == len(keys)


@pytest.mark.parametrize("count", [200, pytest.param(600, marks=pytest.mark.torture)])
def test_a_filter_and_a_folder_leave_out_no_key_with_the_prefix(count):
    for key in _keys(count, seed=7):
        for end in range(0, len(key) + 1, 3):
            prefix = key[:end]
            assert name_of(key).text.startswith(tuple(name_filter(prefix)))
            folder = folder_of(prefix.rpartition("/")[0]).rstrip("/")
            assert parameter_name_of(key).text.startswith(f"{folder}/")


@pytest.mark.parametrize(
    "name",
    [
        *("/leading", "a//b", "a/../b", "trailing/", "a=_2fb", "a=_ff", "=_h" + "0" * 64),
        *("rds!a//b", "rds=_21a", "mine!a"),
    ],
)
def test_odd_names_of_other_tools_have_no_key(name):
    assert key_of(name, None) is None


@pytest.mark.parametrize("name", ["no-slash", "/a//b", "/a-.2fb", "/-.h" + "0" * 64, "/awsome"])
def test_odd_names_of_parameters_have_no_key(name):
    assert parameter_key_of(name) is None
