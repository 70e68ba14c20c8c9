from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from strongroom_pass import PassSecretProvider


@pytest.fixture(scope="session")
def gnupg():
    """A key of the test's own, in a folder whose name is short enough for the agent's socket."""
    if not (shutil.which("pass") and shutil.which("gpg")):
        pytest.skip("there is no pass, or no gpg")
    home = tempfile.mkdtemp(prefix="sr", dir="/tmp")  # the agent's socket needs a short path
    Path(home, "gpg.conf").write_text("no-auto-key-locate\n")  # no test asks a server for a key
    environment = {**os.environ, "GNUPGHOME": home}

    def gpg(*words):
        command = ["gpg", "--batch", "--passphrase", "", *words]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    gpg("--quick-generate-key", "T <t@example.com>", "ed25519", "sign", "0")
    listed = gpg("--list-keys", "--with-colons").splitlines()
    fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
    gpg("--quick-add-key", fingerprint, "cv25519", "encrypt", "0")
    yield home, fingerprint
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=False)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def store(tmp_path, gnupg, monkeypatch):
    home, fingerprint = gnupg
    monkeypatch.setenv("GNUPGHOME", home)
    path = tmp_path / "store"
    environment = {**os.environ, "PASSWORD_STORE_DIR": str(path)}
    subprocess.run(["pass", "init", fingerprint], env=environment, check=True, capture_output=True)
    return path


@pytest.fixture
def passes(store):
    """Run the real program."""

    def run(*words, given=""):
        environment = {**os.environ, "PASSWORD_STORE_DIR": str(store)}
        return subprocess.run(
            ["pass", *words], env=environment, input=given, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture
def make(store):
    def make(**options):
        return PassSecretProvider(Path(store), timeout=60, **options)

    return make
