"""A program that needs two secrets, and reads them from its environment as programs do."""

from __future__ import annotations

import os

host = os.environ["DATABASE_HOST"]
password = os.environ["DATABASE_PASSWORD"]
print(f"connecting to {host} with a password of {len(password)} characters")
print(f"a careless log line: password={password}")
