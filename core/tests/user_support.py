"""Tests that act as a user who is not root, also where root runs them."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager

import pytest

__all__ = ["STRANGER", "USER", "acting_as", "give", "heeding_modes"]

USER, STRANGER = 12345, 23456
"""The one who acts where root runs the tests, and another one."""
_PR_SET_SECUREBITS = 28
_KEEP_CAPABILITIES = 4
_CAPABILITIES_VERSION = 0x20080522
_PASSES_MODES = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


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


@contextmanager
def heeding_modes():
    """Let the modes of files count in the block, also where root runs it."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits of each
    if not hasattr(libc, "capget") or libc.capget(header, before) != 0:
        pytest.skip("root cannot put its rights aside here")
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~_PASSES_MODES
    assert libc.capset(header, less) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


def give(path, uid) -> None:
    """Let `path` belong to `uid`."""
    try:
        os.chown(path, uid, uid, follow_symlinks=False)
    except PermissionError:
        pytest.skip("only root can give files to others")
