"""Keys that stand in the spec itself, as `strongroom check` looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest
from strongroom.cli.app import run_app

GOOD = """\
version: 1
pipelines:
  app: {provider: {type: memory}}
secrets:
  PORT: {key: port, type: port, required: false}
"""


@pytest.fixture
def here(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def run(*words, spec, expected=0):
        Path("other.yaml").write_text(spec)
        code = run_app(("--spec", "other.yaml", *words))
        said = capfd.readouterr()
        assert code == expected, said
        return said

    return run


def test_literal_keys_are_checked_offline(here):
    """All that are wrong are told, each with its place, and no component is made."""
    bad = (
        "version: 1\npipelines:\n  app:\n"
        "    provider: {type: file, file_path: x.enc, encryption_key: brief}\n"
        "    middleware:\n"
        "      - {type: encryption, older_keys: [old, srk1_mistyped]}\n"
        "      - {type: encryption, cipher: {type: aes-gcm, key: abc}}\n"
        "      - {type: encryption, key: '${env:NOT_SET}'}\n"
        "  other: {provider: {type: memory}, hooks: [{type: audit, path: a.log, key: srk1_mistyped}]}\n"
        "default: app\n"
    )
    said = here("check", "--offline", spec=bad, expected=2).err
    for place in (
        "other.yaml:4:62: pipelines.app.provider.encryption_key: ",
        "pipelines.app.middleware[0].older_keys[1]: ",
        "pipelines.app.middleware[1].cipher.key: ",
        "pipelines.other.hooks[0].key: ",
    ):
        assert said.count(place) == 1
    assert len(said.splitlines()) == 4
    assert not any(key in said for key in ("brief", "srk1_mistyped", "abc"))
    assert not Path("x.enc").exists()


@pytest.mark.parametrize("words", [["check"], ["check", "--offline"]])
def test_a_literal_key_of_an_audit_log_that_can_be_guessed_is_warned_of(here, words):
    hook = "hooks: [{type: audit, path: audit.log, key: KEY}]\n"
    for key, count in (("abcde", 1), ("abcdefgh", 0)):
        for one in Path().glob("audit.log*"):
            one.unlink()
        spec = GOOD.replace("secrets:", hook.replace("KEY", key) + "secrets:", 1)
        warned = here(*words, spec=spec, expected=0).err
        assert (
            warned.count("hooks[0].key: it has 5 characters: anyone who reads the log can guess it") == count
        )
        assert "abcde" not in warned
