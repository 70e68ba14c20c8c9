"""A program that PyInstaller has packed, with no option, finds its plugins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYINSTALLER = "pyinstaller==6.22.3"
PROGRAM = """
import sys
from strongroom import SecretProviderRegistry

store = {"type": "file", "file_path": sys.argv[1] + "/s.enc", "key_file": sys.argv[1] + "/s.key"}
spec = {"version": 1, "pipelines": {"app": {"provider": store, "middleware": [{"type": "caching"}]}}}
with SecretProviderRegistry(spec) as registry:
    registry.set_secret("key", "a value")
    print(registry.get_secret("key"))
"""


@pytest.mark.torture
def test_a_packed_program_finds_its_plugins(tmp_path):
    def run(*words):
        return subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    ours = [ROOT / "core", *(ROOT / "plugins" / name for name in ("file", "memory"))]
    pins = ("-c", ROOT / "constraints.txt")
    run(sys.executable, "-m", "uv", "pip", "install", "--python", environment, *pins, PYINSTALLER, *ours)
    (tmp_path / "program.py").write_text(PROGRAM)
    run(environment / "bin" / "pyinstaller", "--onedir", "--noconfirm", "program.py")
    assert run(tmp_path / "dist" / "program" / "program", str(tmp_path)) == "a value\n"
