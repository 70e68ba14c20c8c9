"""What `strongroom init` finds around it and proposes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import warm_command
from strongroom.cli.detect import guess_type, is_setting
from strongroom.spec import load_plan


@pytest.fixture
def init(tmp_path, warm_strongroom):
    """Return a function that runs `init` with an environment of its own, and gives the spec's text."""

    def run(*words, **environment):
        done = warm_command.run(
            [warm_strongroom, "init", *words],
            cwd=tmp_path,
            env={"HOME": str(tmp_path / "home"), **environment},
            check=True,
        )
        text = (tmp_path / "strongroom.yaml").read_text()
        uncommented = text.replace("  # ", "  ").replace("\n# ", "\n")
        return text, uncommented, done.stdout

    (tmp_path / "home").mkdir()
    return run


@pytest.mark.parametrize(
    ("environment", "file", "expected", "kind"),
    [
        ({"VAULT_ADDR": "https://v"}, None, "VAULT_ADDR is set", "vault"),
        ({"BAO_ADDR": "https://v"}, None, "BAO_ADDR is set", "vault"),
        ({"AWS_PROFILE": "p"}, None, "AWS_PROFILE is set", "aws"),
        ({}, ".aws/credentials", "~/.aws/credentials is there", "aws"),
        (
            {},
            ".config/gcloud/application_default_credentials.json",
            "default_credentials.json is there",
            "gcp",
        ),
        ({"AZURE_CLIENT_ID": "i"}, None, "AZURE_CLIENT_ID is set", "azure"),
    ],
)
def test_it_proposes_the_stores_that_are_there(init, tmp_path, environment, file, expected, kind):
    """Commented, with the reason; and what the comment holds is a spec's piece."""
    if file is not None:
        path = tmp_path / "home" / file
        path.parent.mkdir(parents=True)
        path.write_text("canary")
    text, _, _ = init(**environment)
    assert expected in text
    assert f"provider: {{type: {kind}," in text
    assert "canary" not in text
    assert list(load_plan(tmp_path / "strongroom.yaml", look_up=False).pipelines) == ["app"]
    lines = text.replace("\n  # " + kind + ":", "\n  " + kind + ":").replace(
        "\n  #   provider", "\n    provider"
    )
    (tmp_path / "strongroom.yaml").write_text(lines)
    assert list(load_plan(tmp_path / "strongroom.yaml", look_up=False).pipelines) == ["app", kind]


def test_with_nothing_around_it_proposes_nothing(init):
    text, _, _ = init()
    assert not any(word in text for word in ("vault", "aws", "gcp", "azure"))


def test_it_proposes_declarations_for_a_dotenv_and_takes_no_value(init, tmp_path):
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgresql://u:canary@h/d\nPORT=5432\nTOKEN=canary\nbad-name=1\n"
    )
    text, _, output = init()
    assert "canary" not in text
    assert "strongroom import .env" in output
    commented = text[text.index("# secrets:") : text.index("\nprofiles:")]
    rest = text.replace(commented, commented.replace("# ", "", 1).replace("\n# ", "\n"))
    (tmp_path / "strongroom.yaml").write_text(rest)
    secrets = load_plan(tmp_path / "strongroom.yaml").secrets
    assert {name: one.type for name, one in secrets.items()} == {
        "DATABASE_URL": "url",
        "PORT": "port",
        "TOKEN": "string",
    }


SETTINGS = {
    "LOG_LEVEL": "info",
    "ENVIRONMENT": "production",
    "DB_USER": "postgres",
    "DB_NAME": "orders",
    "ADMIN": "root",
    "AWS_REGION": "eu-central-1",
    "DEBUG": "true",
    "PORT": "8080",
    "DB_HOST": "db.example.com",
    "LISTEN": "127.0.0.1:5432",
    "API_URL": "https://api.example.com",
    "TZ": "Europe/Berlin",
    "LANG": "en",
    "TIMEOUT": "1.5s",
    "FLAG": "OFF",
    "SMTP_HOST": "smtp.internal",
    "APP_NAME": "My Shop",
    "BUCKET": "my-app-uploads",
    "PROJECT": "my-project-12",
    "TOKEN_TTL": "3600",
    "PASSWORD_MIN_LENGTH": "12",
    "JWT_ALGORITHM": "none",
}
SECRETS = {
    "DB_PASSWORD": "postgres",
    "API_TOKEN": "true",
    "OPENAI_APIKEY": "word",
    "MYSECRET": "word",
    "STRIPE_KEY_ID": "word",
    "PIN": "1234",
    "SESSION": "info",
    "VALUE": "hunter22-geheim",
    "LETTERS": "xkqzvprtwm",
    "PHRASE": "correct horse battery",
    "LONG_PHRASE": "correct-horse-battery-staple",
    "AWS_ID": "AKIAIOSFODNN7EXAMPLE",
    "ENCODED": "dGVzdA==",
    "DIGITS": "3f7a9c",
    "NUMBER": "123456789",
    "DATABASE_URL": "postgres://u:p@h.example/d",
    "SLACK": "https://hooks.slack.com/services/T0/B0/xyz",
    "MIXED": "Tr0ub4dor",
    "LEET": "p4ssw0rd",
    "EMPTY": "",
}


def test_settings_are_told_from_secrets():
    assert [name for name, value in SETTINGS.items() if not is_setting(name, value)] == []
    assert [name for name, value in SECRETS.items() if is_setting(name, value)] == []


def test_what_it_takes_for_a_setting_is_not_masked(init, tmp_path):
    (tmp_path / "some.env").write_text("LOG_LEVEL=info\nDB_PORT=5432\nDB_PASSWORD=info\n")
    text, _, output = init("--from", "some.env")
    assert "settings, not secrets, so they are not masked: LOG_LEVEL, DB_PORT\n" in output
    secrets = load_plan(tmp_path / "strongroom.yaml").secrets
    assert {name: one.mask for name, one in secrets.items()} == {
        "LOG_LEVEL": False,
        "DB_PORT": False,
        "DB_PASSWORD": True,
    }
    assert "info" not in text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DATABASE_URL", "postgresql://a@b/c", "url"),
        ("SENTRY_DSN", "https://k@s.example/1", "url"),
        ("CALLBACK_URL", "not a url", None),
        ("DB_PORT", "5432", "port"),
        ("PORT", "99999", None),
        ("PASSPORT", "5432", None),
        ("DEBUG", "yes", "boolean"),
        ("DEBUG", "verbose", None),
        ("MAX_CONNECTIONS_LIMIT", "10", "integer"),
        ("PIN", "1234", None),
        ("ADMIN_EMAIL", "a@b.example", "email"),
        ("TLS_KEY", "-----BEGIN KEY-----\nYQ==\n-----END KEY-----\n", "pem"),
        ("TOKEN", "12345678", None),
        ("API_URL", "<your url>", None),
    ],
)
def test_types_that_name_and_value_agree_on(name, value, expected):
    """A password of digits stays text."""
    assert guess_type(name, value) == expected


def test_what_is_composed_may_have_any_character(init, tmp_path, warm_strongroom):
    """Also those that YAML has no place for, or reads as the end of a line."""
    odd = "a\x7fb\x85c\u2028d\ufeffe\U0001f511f\xa0g\t"
    (tmp_path / "x.env").write_text(f'ODD="${{USER}} {odd}"\nUSER=app-of-mine\n')
    init("--from", "x.env")
    command = [warm_strongroom, "export", "--format", "json"]
    home = {"HOME": str(tmp_path / "home")}
    given = warm_command.run(command, cwd=tmp_path, env=home, check=True).stdout
    assert json.loads(given)["ODD"] == f"app-of-mine {odd}"


def test_what_is_made_of_other_names_is_composed(init, tmp_path, warm_strongroom):
    """What `run` and `export` give is what a reader of the file that fills names in would give."""
    file = tmp_path / "x.env"
    file.write_text(
        "URL=postgres://${DB_USER}:${DB_PASSWORD}@db/orders\nDB_USER=app\nDB_PASSWORD='correct {{ horse }} ${x}'\n"
        'ODD="{${DB_USER}} {% raw %} \\r\\n $${DB_USER} ä\\""\nPATH=/bin\n'
    )
    text, _, _ = init("--from", "x.env")
    assert 'URL: {compose: "postgres://{{ DB_USER }}:{{ DB_PASSWORD }}@db/orders"' in text
    assert "PATH" not in text

    def run(*words):
        return warm_command.run(
            [warm_strongroom, *words],
            cwd=tmp_path,
            env={"HOME": str(tmp_path / "home")},
            check=True,
        ).stdout

    assert json.loads(run("export", "--format", "json")) == {
        "URL": "postgres://app:correct {{ horse }} ${x}@db/orders",
        "DB_USER": "app",
        "DB_PASSWORD": "correct {{ horse }} ${x}",
        "ODD": '{app} {% raw %} \r\n $app ä"',
    }
    assert json.loads(run("list", "--json"))["keys"] == ["DB_PASSWORD", "DB_USER"]


def test_all_names_and_lines_that_do_not_fit_are_named_at_once(tmp_path, warm_strongroom):
    (tmp_path / "x.env").write_text("APP.DOTTED=canary\n9=canary\ncanary\nA=1\n")
    done = warm_command.run(
        [warm_strongroom, "init", "--from", "x.env"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert all(f"x.env:{line}: " in done.stderr for line in (1, 2, 3))
    assert "canary" not in done.stderr
    assert not (tmp_path / "strongroom.yaml").exists()


def test_a_folder_whose_name_is_not_utf_8_has_all_that_another_has(strongroom, tmp_path, monkeypatch):
    """As an older file system has it."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    monkeypatch.chdir(folder)
    Path(".env").write_text("A=hunter22-geheim\n")
    strongroom("init", "--from", ".env")
    strongroom("backup", "before.enc")
    strongroom("delete", "A")
    strongroom("restore", "before.enc")
    assert strongroom("get", "A").stdout == "hunter22-geheim"


def test_the_file_that_was_taken_over_is_kept_out_of_git(strongroom):
    Path("strongroom.yaml").unlink()
    Path(".env").write_text("A=hunter22-geheim\n")
    strongroom("init", "--from", ".env")
    assert ".env" in Path(".gitignore").read_text().splitlines()


def test_a_key_that_git_tracks_already_is_told(strongroom):
    """No line of `.gitignore` takes it out of the next commit."""
    Path("strongroom.yaml").unlink()
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path("app.key").touch(mode=0o600)
    Path("app.key").write_text(strongroom("keygen").stdout)
    assert "git tracks" not in strongroom("init", "--force").stderr
    subprocess.run(["git", "add", "-f", "app.key"], check=True)
    assert "git tracks app.key already" in strongroom("init", "--force").stderr


def test_a_line_that_takes_ours_back_is_overridden(strongroom):
    Path("strongroom.yaml").unlink()
    subprocess.run(["git", "init", "-q", "."], check=True)
    Path(".gitignore").write_text("app.key\n!*.key\nsecrets.enc\n")
    told = json.loads(strongroom("init", "--json").stdout)
    assert "app.key" in told["ignored"]
    assert "secrets.enc" not in told["ignored"]
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "app.key" not in listed
    assert "secrets.enc" not in listed
    before = Path(".gitignore").read_text()
    strongroom("init", "--force")
    assert Path(".gitignore").read_text() == before


def test_what_was_left_out_is_not_to_be_deleted(strongroom):
    Path("strongroom.yaml").unlink()
    Path(".env").write_text("NODE_OPTIONS=--inspect\nA=hunter22-geheim\n")
    assert (
        "unencrypted values: delete it, except NODE_OPTIONS\n" in strongroom("init", "--from", ".env").stdout
    )


def test_a_gitignore_in_another_encoding_is_added_to(strongroom):
    Path("strongroom.yaml").unlink()
    Path(".gitignore").write_bytes(b"b\xfccher/\n")
    strongroom("init")
    assert Path(".gitignore").read_bytes().startswith(b"b\xfccher/\nsecrets.enc\n")


def test_where_git_cannot_be_told_there_is_nothing_yet_that_it_could_take(strongroom):
    for name in ("strongroom.yaml", "secrets.enc", "app.key"):
        Path(name).unlink(missing_ok=True)
    Path(".gitignore").unlink(missing_ok=True)
    Path(".gitignore").mkdir()
    assert "gitignore: Is a directory" in strongroom("init", expected=2).stderr
    assert [name for name in ("strongroom.yaml", "secrets.enc", "app.key") if os.path.lexists(name)] == []


def test_it_says_what_was_made_and_what_was_there(init, tmp_path):
    both = "wrote strongroom.yaml, the store secrets.enc and its key app.key; git ignores store and key\n"
    assert init()[2] == both
    for gone, expected in (
        ((), "wrote strongroom.yaml; secrets.enc and app.key were there before;"),
        (("secrets.enc",), "wrote strongroom.yaml and the store secrets.enc; app.key was there before;"),
        (("secrets.enc", "app.key"), both),
    ):
        for name in gone:
            (tmp_path / name).unlink()
        assert init("--force")[2].startswith(expected)


def test_without_the_plugin_of_the_store_it_writes_nothing(tmp_path):
    code = """
import sys
from strongroom.cli import main
sys.modules["strongroom_file"] = None
sys.argv = ["strongroom", "init"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: FileSecretProvider is not installed; pip install strongroom-file\n"
    assert os.listdir(tmp_path) == []
