"""What the tests of specs share."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest's importlib mode keeps test folders off the path; this helper has a name of its own.
sys.path.insert(0, str(Path(__file__).parent))
