"""Write schemas/strongroom.schema.json from the models and the installed plugins."""

from __future__ import annotations

import json
from pathlib import Path

from strongroom.spec import json_schema

TARGET = Path(__file__).resolve().parent.parent / "schemas" / "strongroom.schema.json"


def main() -> None:
    """Write the file."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(json_schema(), indent=2, sort_keys=True) + "\n")
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main()
