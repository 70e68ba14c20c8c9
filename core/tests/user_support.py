"""Tests that act as a user who is not root, also where root runs them."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager

import pytest

__all__ = ["STRANGER", "USER", "acting_as", "give"]

USER, STRANGER = 12345, 23456
"""The one who acts where root runs the tests, and another one."""
_PR_SET_SECUREBITS = 28
_KEEP_CAPABILITIES = 4


@contextmanager
def acting_as(uid):
    """Let the block own what it makes as `uid`, as far as files go; root's rights to read and write stay.

    Without root, the block acts as whoever runs the tests.
    """
    if os.geteuid() != 0:
        yield os.geteuid()
        return
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_SECUREBITS, _KEEP_CAPABILITIES, 0, 0, 0) != 0:
        pytest.skip("the container does not let root act as somebody else")
    os.seteuid(uid)
    try:
        yield uid
    finally:
        os.seteuid(0)
        prctl(_PR_SET_SECUREBITS, 0, 0, 0, 0)


def give(path, uid) -> None:
    """Let `path` belong to `uid`."""
    try:
        os.chown(path, uid, uid, follow_symlinks=False)
    except PermissionError:
        pytest.skip("only root can give files to others")
