"""The keyring library's command reads strongroom, whose pipeline reads a keyring of its own."""

from __future__ import annotations

import os
import subprocess

from strongroom.integrations.keyring import key_for

KEYRING = "import runpy; runpy.run_module('keyring', run_name='__main__', alter_sys=True)"


def test_keyrings_own_command_writes_and_reads_through_the_spec(tmp_path, warm_python):
    spec = tmp_path / "strongroom.yaml"
    spec.write_text(
        "version: 1\n"
        "pipelines: {desk: {provider: {type: keyring, backend: keyrings.alt.file.PlaintextKeyring}}}\n"
    )
    environment = os.environ | {
        "PYTHON_KEYRING_BACKEND": "strongroom.integrations.keyring.StrongroomKeyring",
        "STRONGROOM_SPEC": str(spec),
    }

    def run(*command, text=None):
        return subprocess.run(
            [warm_python, "-c", *command],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )

    written = run(KEYRING, "set", "https://example.org/", "user", text="from-strongroom\n")
    assert written.returncode == 0, written.stderr
    read = run(KEYRING, "get", "https://example.org/", "user")
    assert (read.returncode, read.stdout) == (0, "from-strongroom\n"), read.stderr
    listed = run("import strongroom; print(strongroom.SecretProviderRegistry().list_secrets())")
    assert listed.stdout.strip() == str([key_for("https://example.org/", "user")])
