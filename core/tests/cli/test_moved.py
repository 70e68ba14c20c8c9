"""A declared name that moves to another key keeps its value: nothing random takes its place."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from strongroom import SecretProviderRegistry
from strongroom.cli.app import run_app

SPEC = """\
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
secrets:
"""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*words, expected=0, declared=None):
        if declared is not None:
            Path("strongroom.yaml").write_text(SPEC + "".join(f"  {one}\n" for one in declared))
            Path("strongroom.yaml").chmod(0o644)
        capsys.readouterr()
        code = run_app(words)
        done = capsys.readouterr()
        assert code == expected, done
        return done

    return run


def store(**values):
    with SecretProviderRegistry(SPEC_OF_THE_STORE) as registry:
        for key, value in values.items():
            registry.set_secret(key.replace("__", "/"), value)


SPEC_OF_THE_STORE = {
    "version": 1,
    "pipelines": {"app": {"provider": {"type": "file", "file_path": "secrets.enc", "key_file": "app.key"}}},
}


def stored():
    with SecretProviderRegistry(SPEC_OF_THE_STORE) as registry:
        return registry.get_secrets(registry.list_secrets())


def test_what_init_took_over_is_moved_and_not_made_again(cli):
    """The value is at the name itself, though no command has seen the spec of before."""
    store(PASSWORD="the one that the database knows")
    moved = ["PASSWORD: {key: database/password, generate: {length: 32}}"]
    for words in (["check", "--fix"], ["check"]):
        told = json.loads(cli("--json", *words, declared=moved, expected=7).out)
        (row,) = told["secrets"]
        assert row["status"] == "missing"
        assert "`strongroom mv PASSWORD database/password`" in row["problem"]
    assert "strongroom mv" in cli("run", "--", "true", expected=3).err
    assert stored() == {"PASSWORD": "the one that the database knows"}
    cli("mv", "PASSWORD", "database/password")
    cli("check", "--fix")
    assert stored() == {"database/password": "the one that the database knows"}


@pytest.mark.parametrize(
    "between", [["check"], ["set", "--key", "db/one", "value-in-use"], ["check", "--offline"]]
)
def test_a_key_of_before_is_remembered(cli, between):
    """Whatever command saw the spec as it was."""
    store(db__one="value-in-use")
    cli(*between, declared=["A: {key: db/one}"])
    cli("check", "--fix", declared=["A: {key: other/place, generate: {length: 20}}"], expected=7)
    cli("check", "--fix", declared=["A: {key: third/place, generate: {length: 20}}"], expected=7)
    assert stored() == {"db/one": "value-in-use"}


def test_a_member_of_before_is_remembered(cli):
    store(db='{"password": "value-in-use"}')
    cli("check", declared=["A: {key: db, field: password}"])
    told = cli("check", "--fix", declared=["A: {key: db/password, generate: {length: 20}}"], expected=7).out
    assert "still the member 'password' of 'db'" in told
    assert set(stored()) == {"db"}


def test_an_optional_one_too(cli):
    store(A="value-in-use")
    cli("check", "--fix", declared=["A: {key: a, required: false, generate: {length: 20}}"], expected=7)
    assert set(stored()) == {"A"}


def test_where_another_name_leads_is_not_this_ones_value(cli):
    """Two that changed places, and a key that belongs to somebody else."""
    store(A="of B", c="of C")
    cli("check", declared=["A: {key: c}"], expected=0)
    cli("check", "--fix", declared=["A: {key: a, generate: {length: 20}}", "B: {key: A}", "C: {key: c}"])
    assert {"A", "a", "c"} == set(stored())


def test_what_is_gone_is_made_again(cli):
    store(A="value", b="x")
    cli("check", declared=["A: {key: b}"])
    cli("delete", "b")
    cli("delete", "A")
    cli("check", "--fix", declared=["A: {key: c, generate: {length: 20}}"])
    assert set(stored()) == {"c"}


def test_a_new_one_is_made_where_that_is_meant(cli):
    store(A="value")
    cli("set", "--key", "a", "--generate", declared=["A: {key: a, generate: {length: 20}}"])
    cli("check", "--fix")
    assert set(stored()) == {"A", "a"}


@pytest.mark.parametrize("text", ["", "[]", '{"A": 7}', '{"A": [["x"]]}', "rubbish", '{"A": [[1, 2]]}'])
def test_rubbish_in_the_place_of_what_is_remembered_is_nothing(cli, tmp_path, text):
    cli("check", declared=["A: {key: b, required: false}"])
    (noted,) = (tmp_path / "state" / "strongroom" / "names").iterdir()
    noted.write_text(text)
    cli("check", "--fix", declared=["A: {key: c, generate: {length: 20}}"])


def test_each_profile_has_its_own_keys(cli):
    store(one="value-in-use")
    Path("strongroom.yaml").write_text(
        f"{SPEC}  A: {{key: two, generate: {{length: 20}}}}\nprofiles: {{p: {{secrets: {{A: {{key: one}}}}}}}}\n"
    )
    cli("--profile", "p", "check")
    cli("check", "--fix")
    assert set(stored()) == {"one", "two"}


class Moves(RuleBasedStateMachine):
    """A name moves from key to key, and back, with `check --fix` in between: its first value never changes."""

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.before = Path.cwd(), os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = f"{folder}/state"
        os.chdir(folder)
        self.stack.enter_context(contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())))
        self.at = "A"
        store(A="value-in-use")
        self.declare("A")

    def declare(self, key):
        Path("strongroom.yaml").write_text(f"{SPEC}  A: {{key: {key}, generate: {{length: 20}}}}\n")
        Path("strongroom.yaml").chmod(0o644)
        self.key = key

    @rule(key=st.sampled_from(["A", "a/b", "c", "d"]))
    def move_the_name(self, key):
        self.declare(key)
        run_app(["check", "--offline"])

    @rule()
    def fix(self):
        assert run_app(["check", "--fix"]) == (0 if self.key == self.at else 7)

    @rule()
    def follow(self):
        if self.key != self.at:
            assert run_app(["mv", self.at, self.key]) == 0
            self.at = self.key

    @invariant()
    def there_is_one_value(self):
        assert stored() == {self.at: "value-in-use"}

    def teardown(self):
        os.chdir(self.before[0])
        if self.before[1] is None:
            del os.environ["XDG_STATE_HOME"]
        else:
            os.environ["XDG_STATE_HOME"] = self.before[1]
        self.stack.close()


TestMoves = Moves.TestCase
TestMoves.settings = settings(max_examples=3, stateful_step_count=8, deadline=None)


OTHER = "provider: {{type: file, file_path: {}, key_file: app.key}}"
HERE = f"pipelines: {{app: {{{OTHER.format('secrets.enc')}}}}}\n"
THERE = f"pipelines: {{app: {{{OTHER.format('new.enc')}}}}}\n"
BOTH = f"pipelines: {{app: {{{OTHER.format('secrets.enc')}}}, new: {{{OTHER.format('new.enc')}}}}}\n"
ELSEWHERE = {
    "a route": (
        f"{BOTH}default: app\nroutes: [{{prefix: db/, pipeline: new}}]\n",
        "is still at 'db/pw' of pipeline 'app': `strongroom --pipeline app get --key db/pw",
    ),
    "a route that strips its prefix": (
        f"{HERE}default: app\nroutes: [{{prefix: db/, pipeline: app, strip_prefix: true}}]\n",
        "is still at 'db/pw' of pipeline 'app'",
    ),
    "another default": (
        f"{BOTH}default: new\n",
        "is still at 'db/pw' of pipeline 'app'",
    ),
    "another name of the pipeline": (
        f"pipelines: {{old: {{{OTHER.format('secrets.enc')}}}, app: {{{OTHER.format('new.enc')}}}}}\ndefault: app\n",
        "is still at 'db/pw' of pipeline 'old'",
    ),
    "another file": (
        THERE,
        "was last seen at 'db/pw' of pipeline 'app', in a store (file ",
    ),
    "another provider": (
        "pipelines: {app: {provider: {type: memory}}}\n",
        "that the spec does not lead to any more: bring it over, `strongroom set --key db/pw --generate` makes",
    ),
    "a prefix": (
        f"pipelines: {{app: {{{OTHER.format('secrets.enc')}, middleware: [{{type: prefix, prefix: prod/}}]}}}}\n",
        "was last seen at 'db/pw' of pipeline 'app'",
    ),
}
DECLARED = "secrets: {PW: {key: db/pw, generate: {length: 20}}}\n"


def declare_in(pipelines):
    Path("strongroom.yaml").write_text(f"version: 1\n{pipelines}{DECLARED}")
    Path("strongroom.yaml").chmod(0o644)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        *((name, ["check"]) for name in ELSEWHERE),
        ("a route", ["run", "--", "true"]),
        ("another file", ["set", "PW", "value-in-use"]),
        ("another default", ["import", ".env"]),
    ],
)
def test_a_name_that_leads_to_another_store_keeps_its_value(cli, name, seen):
    """The route, the default pipeline, the provider or its options changed; what is seen before is known."""
    pipelines, told = ELSEWHERE[name]
    store(db__pw="value-in-use")
    Path(".env").write_text("PW=value-in-use\n")
    declare_in(HERE)
    cli(*seen)
    declare_in(pipelines)
    for words in (["check", "--fix"], ["check"]):
        (row,) = json.loads(cli("--json", *words, expected=7).out)["secrets"]
        assert row["status"] == "missing"
        assert told in row["problem"]
        assert "value-in-use" not in row["problem"]
    assert "the value that PW had" in cli("run", "--", "true", expected=3).err
    declare_in(HERE)
    cli("check", "--fix")
    assert stored() == {"db/pw": "value-in-use"}


def test_what_is_not_there_any_more_is_made_in_the_other_store(cli):
    """Deleted there, by this command line or another; its file gone; or a store that no later process reads."""
    declare_in(HERE)
    cli("check", "--fix")
    cli("delete", "db/pw")
    declare_in(THERE)
    cli("check", "--fix")
    declare_in(f"{BOTH}default: app\n")
    Path("new.enc").unlink()
    cli("check", "--fix")
    with SecretProviderRegistry(SPEC_OF_THE_STORE) as registry:
        registry.delete_secret("db/pw")
    declare_in(f"{BOTH}default: new\n")
    cli("check", "--fix")
    declare_in("pipelines: {app: {provider: {type: memory}}}\n")
    cli("set", "--key", "db/pw", "--generate")
    declare_in(f"pipelines: {{app: {{{OTHER.format('third.enc')}}}}}\n")
    cli("check", "--fix")


def test_what_init_took_over_is_known_to_be_in_its_store(cli):
    Path(".env").write_text("PW=value-in-use\n")
    cli("init", "--from", ".env")
    declare_in(THERE)
    Path("strongroom.yaml").write_text(Path("strongroom.yaml").read_text().replace("db/pw", "PW"))
    assert "was last seen at 'PW' of pipeline 'app'" in cli("check", "--fix", expected=7).out


def test_a_member_that_was_seen_in_another_store_is_found_there(cli):
    store(db='{"password": "value-in-use"}')
    declare = "  A: {key: db, field: password}"
    cli("check", declared=[declare.strip()])
    declare_in(f"{BOTH}default: new\n")
    Path("strongroom.yaml").write_text(
        Path("strongroom.yaml").read_text().replace(DECLARED, f"secrets:\n{declare}\n")
    )
    (row,) = json.loads(cli("--json", "check", expected=7).out)["secrets"]
    assert "in 'password' of 'db' of pipeline 'app'" in row["problem"]
    assert "--field password |" in row["problem"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"PW": 7}', '{"PW": [["x"]]}', "rubbish", '{"PW": [[1, 2, 3, 4, 5]]}']
)
def test_rubbish_in_the_place_of_sightings_is_nothing(cli, tmp_path, text):
    declare_in(HERE)
    cli("check", "--fix")
    (noted,) = (tmp_path / "state" / "strongroom" / "names").glob("*.seen")
    noted.write_text(text)
    declare_in(THERE)
    cli("check", "--fix")
