"""Run from installed wheels, without the source tree: the main job, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from strongroom.plugins.known import KNOWN_TYPES

SPEC = """
version: 1
pipelines:
  app:
    provider: {type: file, file_path: secrets.enc, key_file: app.key}
    middleware: [{type: retry}, {type: validation, max_length: 4096}]
  test:
    provider: {type: memory}
default: app
secrets:
  DATABASE_PASSWORD: {key: database/password, min_length: 8}
"""


def strongroom(*arguments: str, stdin: str | None = None) -> str:
    """Run the installed command and return what it prints."""
    command = [str(Path(sys.executable).with_name("strongroom")), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"strongroom {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Set, get, check, explain and run; then the same through the library."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("strongroom.yaml").write_text(SPEC)
        strongroom("set", "database/password", stdin="correct horse battery")
        assert strongroom("get", "database/password") == "correct horse battery"
        assert json.loads(strongroom("list", "--json")) == {"keys": ["database/password"]}
        assert json.loads(strongroom("check", "--json"))["ok"] is True
        shown = strongroom(
            "run", "--", sys.executable, "-c", "import os; print(len(os.environ['DATABASE_PASSWORD']))"
        )
        assert shown.strip() == "21", shown
        plugins = {row["name"]: row for row in json.loads(strongroom("plugins", "--json"))["plugins"]}
        broken = {name: row["error"] for name, row in plugins.items() if row["error"]}
        assert not broken, broken
        missing = {name for types in KNOWN_TYPES.values() for name in types} - set(plugins)
        assert not missing, missing

        import strongroom as library

        with library.SecretProviderRegistry() as registry:
            assert registry.get_secret("database/password") == "correct horse battery"
            assert registry.resolve()["DATABASE_PASSWORD"] == "correct horse battery"
        assert ".venv" not in str(library.__file__)
        assert "src" not in Path(library.__file__).parts
    print("smoke: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
