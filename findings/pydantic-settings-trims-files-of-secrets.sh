#!/usr/bin/env bash
# pydantic-settings 2.16.3: a file of secrets_dir loses the white space at both its ends.
# Seen: a file with two blanks, the word, a blank, a tab and two newlines gives the word alone; a file of one blank gives
# the empty text. Docker's and Kubernetes' files hold exactly what was stored, so that such a password is another one in the
# application than at the server that it is for. Guess: one newline at the end is taken off, as by a shell.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check pydantic-settings==2.16.3
cat >see.py <<'END'
import tempfile
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict

folder = Path(tempfile.mkdtemp())
(folder / "db_password").write_text("  hunter2 \t\n\n")
(folder / "api_token").write_text(" ")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(secrets_dir=folder)
    db_password: str
    api_token: str


found = Settings()
print(repr(found.db_password), repr(found.api_token))
assert found.db_password == "hunter2"
assert found.api_token == ""
END
venv/bin/python see.py
