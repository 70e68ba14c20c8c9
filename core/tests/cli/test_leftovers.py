"""What a killed `run` leaves of its secrets' files: nothing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

CODE = """
import os, sys
from strongroom.cli.child.secret_files import SecretFiles
from strongroom.cli.child.running import run_child
with SecretFiles() as files:
    os.environ |= files.put({"KEY": "hunter22"})
    run_child(["sh", "-c", "echo $KEY; exec sleep 1000"], os.environ, None)
"""
SPEC = """\
version: 1
pipelines: {app: {provider: {type: env, prefix: KEPT_}}}
secrets: {KEY: {key: key, as_file: true}}
"""
COMMAND = ["-m", "strongroom", "run", "--", "sh", "-c", "echo $KEY; exec sleep 1000"]


@pytest.mark.parametrize("words", [["-c", CODE], COMMAND], ids=["child", "command"])
def test_a_killed_run_leaves_no_file(tmp_path, tmp_path_factory, words):
    folder = tmp_path_factory.mktemp("spec")
    (folder / "strongroom.yaml").write_text(SPEC)
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, *words],
        stdout=subprocess.PIPE,
        pass_fds=[writer],
        start_new_session=True,
        cwd=folder,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(folder), "KEPT_KEY": "hunter22"},
    )
    os.close(writer)
    with process:
        path = process.stdout.readline().strip().decode()
        assert path.startswith(str(tmp_path))
        process.send_signal(signal.SIGKILL)
        ended = select.select([reader], [], [], 120)[0]
    assert ended, "the program lives on"
    assert os.read(reader, 1) == b""
    os.close(reader)
    for _ in range(1000):
        if not any(tmp_path.iterdir()):
            break
        os.sched_yield()
        select.select([], [], [], 0.01)
    assert not any(tmp_path.iterdir())
