"""An audited read beside `logging.FileHandler` writing the same line; verification beside the hash alone."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from pathlib import Path
from typing import Any

from strongroom import SecretProviderRegistry
from strongroom.audit import AuditLoggingHook, verify_audit_log
from timing import medians, row

_READS = 400
_SPEC = {
    "version": 1,
    "pipelines": {"app": {"provider": {"type": "memory"}, "middleware": [{"type": "caching"}]}},
}


def rows() -> list[dict[str, Any]]:
    """Return what a read costs with its line in the log, and what a line costs to verify."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.jsonl"
        hook = AuditLoggingHook(path=log)
        with SecretProviderRegistry(_SPEC) as registry:
            registry.set_secret("database/password", "value")
            registry.add_hook(hook)
            read, written, line = _reading(registry, log, Path(folder) / "plain.log")
        hook.close()
        verified = medians(5, lambda: verify_audit_log(log))[0]
        data = log.read_bytes()
        lines = data.count(b"\n")
        hashed = medians(5, lambda: [hashlib.sha256(line).digest() for line in data.splitlines()])[0]
    name = f"an audited cached read / FileHandler writing the same {len(line)} bytes"
    return [
        row(name, read, written, 2.7, unit="µs"),
        row("verifying a line / SHA-256 of it", verified / lines, hashed / lines, 12.0, unit="µs"),
    ]


def _reading(registry: SecretProviderRegistry, log: Path, plain: Path) -> tuple[float, float, str]:
    registry.get_secret("database/password")
    line = log.read_text().splitlines()[0]
    logger = logging.getLogger("bench.audit")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(plain)
    logger.addHandler(handler)
    try:
        read, written = medians(
            _READS, lambda: registry.get_secret("database/password"), lambda: logger.info(line), times=100
        )
    finally:
        logger.removeHandler(handler)
        handler.close()
    return read, written, line
