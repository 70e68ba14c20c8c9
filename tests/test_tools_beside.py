"""What `docs/explanation/servers.md` says of tools beside the backends, on the tools; `make torture` runs it where they are.

On Debian: `apt-get install git softhsm2 swtpm tpm2-tools`; python-pkcs11 comes from its wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from free_ports import free_port

pytestmark = pytest.mark.torture


@pytest.fixture
def run(tmp_path):
    """A function that runs a program in the test's folder, or skips where there is none."""

    def run(*words, code=0, **variables):
        words = [str(word) for word in words]
        if shutil.which(words[0]) is None:
            pytest.skip(f"there is no {words[0]} here")
        environment = {**os.environ, "HOME": str(tmp_path), **variables}
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    return run


# --- git 2.39: a merge driver for an encrypted file ---


@pytest.fixture
def repository(run, tmp_path):
    """A function that runs git in a repository whose merge driver `enc` notes that it was called."""
    who = {"GIT_CONFIG_NOSYSTEM": "1"}
    for name in ("AUTHOR", "COMMITTER"):
        who |= {f"GIT_{name}_NAME": "n", f"GIT_{name}_EMAIL": "n@example.com"}

    def git(*words, **options):
        return run("git", *words, **options, **who).stdout

    git("init", "-q", "-b", "main")
    git("config", "merge.enc.driver", f"echo called >> {tmp_path}/calls; echo merged > %A")
    (tmp_path / "x.enc").write_text("base\n")
    git("add", "x.enc")
    git("commit", "-q", "-m", "1")
    git("switch", "-q", "-c", "theirs")
    (tmp_path / "x.enc").write_text("theirs\n")
    (tmp_path / ".gitattributes").write_text("x.enc merge=enc\n")
    git("add", ".gitattributes", "x.enc")
    git("commit", "-q", "-m", "2")
    git("switch", "-q", "main")
    return git


def test_git_takes_attributes_from_our_side_of_a_merge_alone(repository, tmp_path):
    (tmp_path / "x.enc").write_text("ours\n")
    repository("commit", "-q", "-a", "-m", "3")
    repository("merge", "theirs", code=1)
    assert not (tmp_path / "calls").exists()
    assert "<<<<<<<" in (tmp_path / "x.enc").read_text()
    repository("merge", "--abort")
    repository("switch", "-q", "theirs")
    repository("merge", "main")
    assert (tmp_path / "x.enc").read_text() == "merged\n"


def test_git_calls_no_driver_where_one_side_removed_the_file(repository, tmp_path):
    repository("merge", "-q", "theirs")
    repository("switch", "-q", "-c", "removes")
    repository("rm", "-q", "x.enc")
    repository("commit", "-q", "-m", "4")
    repository("switch", "-q", "main")
    (tmp_path / "x.enc").write_text("ours\n")
    repository("commit", "-q", "-a", "-m", "5")
    repository("merge", "removes", code=1)
    assert not (tmp_path / "calls").exists()
    assert (tmp_path / "x.enc").read_text() == "ours\n"


def test_git_merges_as_text_where_the_driver_is_not_set_up(repository, tmp_path):
    repository("merge", "-q", "theirs")
    repository("switch", "-q", "-c", "more")
    (tmp_path / "x.enc").write_text("more\n")
    repository("commit", "-q", "-a", "-m", "4")
    repository("switch", "-q", "main")
    (tmp_path / "x.enc").write_text("ours\n")
    repository("commit", "-q", "-a", "-m", "5")
    repository("config", "--unset", "merge.enc.driver")
    repository("merge", "more", code=1)
    assert "<<<<<<<" in (tmp_path / "x.enc").read_text()


# --- SoftHSM 2.6, python-pkcs11 0.10.1 ---

PKCS11 = """
import os, sys
import pkcs11
from pkcs11 import KeyType, exceptions

token = pkcs11.lib(sys.argv[1]).get_token(token_label="t")


def refused(**options):
    try:
        token.open(**options).close()
    except exceptions.PKCS11Error as error:
        return type(error).__name__
    return "opened"


print(*[refused(user_pin="9999") for _ in range(5)])
session = token.open(user_pin="1234", rw=True)
for _ in range(2):
    session.generate_key(KeyType.AES, 256, label="k", store=True)
try:
    session.get_key(label="k")
except exceptions.PKCS11Error as error:
    print(type(error).__name__)
print(refused(user_pin="1234"), refused(user_pin="9999"))
with token.open() as other:
    print(len(list(other.get_objects())))
"""


def test_a_token_of_softhsm_is_logged_in_for_the_whole_process(run, tmp_path):
    library = Path("/usr/lib/softhsm/libsofthsm2.so")
    if not library.exists():
        pytest.skip("there is no SoftHSM here")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    where = {"SOFTHSM2_CONF": str(tmp_path / "conf")}
    run(
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        "t",
        "--pin",
        "1234",
        "--so-pin",
        "5678",
        **where,
    )
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    run(sys.executable, "-m", "uv", "pip", "install", "--python", tmp_path / "venv", "python-pkcs11==0.10.1")
    said = run(tmp_path / "venv" / "bin" / "python", "-c", PKCS11, library, **where).stdout.splitlines()
    assert said == [
        " ".join(["PinIncorrect"] * 5),  # and the right one is taken after that
        "MultipleObjectsReturned",
        "UserAlreadyLoggedIn UserAlreadyLoggedIn",
        "2",
    ]


# --- tpm2-tools 5.4 on swtpm 0.7 ---


class TPM:
    """A TPM in software; its state stays as it stops."""

    def __init__(self, run, folder):
        self._run, self._folder = run, folder
        if shutil.which("swtpm") is None:
            pytest.skip("there is no swtpm here")

    def start(self):
        self.port = free_port(successors=1)
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._folder}", "--flags", "not-need-init,startup-clear",
             "--server", f"type=tcp,port={self.port}", "--ctrl", f"type=tcp,port={self.port + 1}"],
        )  # fmt: skip
        until = time.monotonic() + 120
        while self("getrandom", "--hex", "1", code=None).returncode:
            assert time.monotonic() < until, "it does not start"
            time.sleep(0.05)  # it tells no other way

    def __call__(self, command, *words, code=0):
        return self._run(
            f"tpm2_{command}", *words, code=code, TPM2TOOLS_TCTI=f"swtpm:host=127.0.0.1,port={self.port}"
        )

    def stop(self):
        self.process.terminate()
        self.process.wait(300)


@pytest.fixture
def tpm(run, tmp_path):
    running = TPM(run, tmp_path)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_a_tpm_has_room_for_three_keys_and_seals_128_bytes(tpm, tmp_path):
    for number in range(3):
        tpm("createprimary", "-c", f"{number}.ctx")
    assert "out of memory for object contexts" in tpm("createprimary", "-c", "3.ctx", code=1).stderr
    tpm("flushcontext", "-t")
    for size in (128, 129):
        (tmp_path / str(size)).write_bytes(bytes(size))
        tpm("create", "-C", "0.ctx", "-i", size, "-u", "public", "-r", "private", code=int(size > 128))


def test_after_three_wrong_passwords_a_tpm_refuses_the_right_one(tpm, tmp_path):
    (tmp_path / "secret").write_text("a value")
    tpm("createprimary", "-c", "p.ctx")
    tpm("create", "-C", "p.ctx", "-i", "secret", "-u", "public", "-r", "private", "-p", "right")
    tpm("flushcontext", "-t")
    tpm("load", "-C", "p.ctx", "-u", "public", "-r", "private", "-c", "s.ctx")
    tpm("dictionarylockout", "-s", "-n", "3", "-t", "1000", "-l", "1000")
    assert tpm("unseal", "-c", "s.ctx", "-p", "right").stdout == "a value"
    for _ in range(3):
        tpm("flushcontext", "-t")
        tpm("unseal", "-c", "s.ctx", "-p", "wrong", code=None)
    tpm("flushcontext", "-t")
    assert "in DA lockout mode" in tpm("unseal", "-c", "s.ctx", "-p", "right", code=None).stderr


def test_a_saved_context_does_not_outlive_the_start_of_a_tpm(tpm):
    tpm("createprimary", "-c", "p.ctx")
    tpm("flushcontext", "-t")
    tpm("readpublic", "-c", "p.ctx")
    tpm.stop()
    tpm.start()
    assert "integrity check failed" in tpm("readpublic", "-c", "p.ctx", code=None).stderr
