"""Messages to systemd, if it started the server with `Type=notify`."""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["notify", "ready", "reloading", "stopping", "watchdog_seconds"]


def notify(*lines: str) -> None:
    """Send lines such as `READY=1`, if systemd listens."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where.startswith(("/", "@")):
        return
    address = f"\0{where[1:]}" if where.startswith("@") else where
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.sendall("\n".join(lines).encode())


def ready(status: str) -> None:
    """Report that the server listens."""
    notify("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")


def reloading() -> None:
    """Report that the spec is being read again; `ready` reports when that is done."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Report that the server is ending."""
    notify("STOPPING=1", "STATUS=answering the last requests")


def watchdog_seconds() -> float | None:
    """Return how often systemd expects a sign of life; None if it does not."""
    interval = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if owner != str(os.getpid()) or not interval.isdigit() or not int(interval):
        return None
    return int(interval) / 2_000_000  # twice within the time that systemd waits, which is in microseconds
