"""What can be said of the Dockerfile without Docker: its files, its user, and its entry point, run for real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SPEC = """\
version: 1
pipelines: {app: {provider: {type: env}}}
secrets: {PASSWORD: {key: password}}
"""


def instructions():
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", "")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def of(name):
    return [rest for word, rest in instructions() if word == name]


def test_what_is_copied_is_there():
    for rest in of("COPY"):
        *sources, _ = rest.split()
        if not rest.startswith("--from=build"):
            assert all((ROOT / source).exists() for source in sources), rest
    backends = re.search(r'BACKENDS="([^"]+)"', DOCKERFILE.read_text())
    assert all((ROOT / "plugins" / name / "pyproject.toml").exists() for name in backends[1].split())


def test_it_runs_as_nobody_and_holds_no_secret():
    """The last stage's user is a number (which Kubernetes can check), and no ARG or ENV is a credential."""
    assert of("USER") == ["10001:10001"]
    assert instructions().index(("USER", "10001:10001")) < [word for word, _ in instructions()].index(
        "ENTRYPOINT"
    )
    for rest in of("ENV") + of("ARG"):
        assert not re.search(r"TOKEN|PASSWORD|SECRET|_KEY", rest)
    ignored = (DOCKERFILE.parent / "Dockerfile.dockerignore").read_text().split()
    assert {"**/*.enc", "**/*.key", "**/.env", ".git"} <= set(ignored)


@pytest.fixture
def entry(tmp_path):
    """Return the entry point's words, and an environment for them."""
    (tmp_path / "strongroom.yaml").write_text(SPEC)
    [words] = [json.loads(rest) for rest in of("ENTRYPOINT")]
    assert words[0] == "strongroom"
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "STRONGROOM_SPEC": str(tmp_path / "strongroom.yaml"),
        "APP_SECRET_PASSWORD": "correct-horse-battery",
    }
    return words, environment


def test_the_entry_point_hands_secrets_over(entry, warm_strongroom):
    """Exit code, masking, and the container's command as it stands in the file."""
    words, environment = entry
    environment["PATH"] = f"{Path(warm_strongroom).parent}:{environment['PATH']}"
    script = "import os, sys; print(os.environ['PASSWORD']); sys.exit(len(os.environ['PASSWORD']))"
    done = subprocess.run([*words, "python", "-c", script], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (21, b"********\n")
    [command] = [json.loads(rest) for rest in of("CMD")]
    subprocess.run([*words, *command], env=environment, check=True, capture_output=True)


def test_a_stop_reaches_the_application(entry):
    """`docker stop` sends SIGTERM to process 1."""
    words, environment = entry
    script = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "read, write = os.pipe()\n"
        "os.set_blocking(write, False)\n"
        "signal.set_wakeup_fd(write)\n"
        "print('ready', flush=True)\n"
        "os.read(read, 1)\n"
        "os.read(read, 1)\n"
    )
    process = subprocess.Popen([*words, "python", "-c", script], env=environment, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 7
    finally:
        process.kill()
        process.communicate()
