"""A log that lost its beginning, its pieces or itself does not verify; with its pieces it does."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from pathlib import Path

import pytest
from strongroom import verify_audit_log
from strongroom.audit.verify import MISSING, verify_pieces
from strongroom.errors import AuditError, ConfigurationError


@pytest.fixture
def rotated(make_trail):
    """A trail of 14 entries: three pieces of four, the oldest `.3`, and a log of two."""
    trail = make_trail(key="key")
    for _ in range(3):
        trail.read(4)
        for number in (2, 1):
            piece = trail.path.with_name(f"audit.jsonl.{number}")
            if piece.exists():
                piece.rename(piece.with_name(f"audit.jsonl.{number + 1}"))
        trail.path.rename(trail.path.with_name("audit.jsonl.1"))
    trail.read(2)
    trail.hook.close()
    trail.pieces = [trail.path.with_name(f"audit.jsonl.{number}") for number in (3, 2, 1)]
    return trail


def alone(trail, **options):
    return verify_audit_log(trail.path, "key", **options)


def whole(trail, **options):
    return alone(trail, earlier=trail.pieces, **options)


def summary(report):
    return report.ok, report.anchored, report.entries, report.first_bad_line


def test_the_pieces_of_a_rotated_log_are_one_chain(rotated):
    report = whole(rotated)
    assert summary(report) == (True, True, 14, None)
    assert (report.first, report.last) == (1, 14)
    found = verify_pieces(rotated.path, "key")
    assert [name for name, _ in found] == [str(one) for one in (*rotated.pieces, rotated.path)]
    assert [(one.ok, one.anchored, one.first, one.last) for _, one in found] == [
        (True, True, 1, 4),
        (True, True, 5, 8),
        (True, True, 9, 12),
        (True, True, 13, 14),
    ]


def test_a_log_without_its_beginning_is_not_whole(rotated):
    report = alone(rotated)
    assert summary(report) == (False, False, 0, 1)
    assert report.reason == f"entries 1 to 12 are {MISSING}"
    assert summary(alone(rotated, first=13)) == (True, True, 2, None)
    assert summary(alone(rotated, first=14)) == (True, True, 2, None)
    assert alone(rotated, first=12).reason == f"entry 12 is {MISSING}"
    assert summary(alone(rotated, earlier=rotated.pieces[1:], first=5)) == (True, True, 10, None)
    assert not alone(rotated, earlier=rotated.pieces[1:]).ok
    # Without a head the same, and it is not the head that is complained of.
    rotated.head.unlink()
    assert alone(rotated).reason == f"entries 1 to 12 are {MISSING}"
    assert summary(alone(rotated, first=13)) == (True, False, 2, None)


@pytest.mark.parametrize("form", [str, Path, lambda piece: [piece]])
def test_one_earlier_piece_may_be_given_by_itself(rotated, form):
    report = alone(rotated, earlier=form(rotated.pieces[-1]), first=9)
    assert summary(report) == (True, True, 6, None)


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize("how", ["removed", "emptied", "another"])
def test_a_piece_that_was_taken_away(rotated, lost, how):
    """Removed, made empty, or replaced by another one of the same log."""
    piece = rotated.pieces[lost]
    if how == "removed":
        piece.unlink()
        left = [one for one in rotated.pieces if one != piece]
    elif how == "emptied":
        piece.write_bytes(b"")
        left = rotated.pieces
    else:
        shutil.copyfile(rotated.pieces[lost - 1], piece)
        left = rotated.pieces
    report = alone(rotated, earlier=left)
    assert (report.ok, report.anchored, report.first_bad_line) == (False, False, 1)
    found = [one for _, one in verify_pieces(rotated.path, "key")]
    assert not all(one.ok for one in found)
    assert all(not one.anchored for one in found if not one.ok)


def test_pieces_twice_or_in_another_order(rotated):
    oldest, middle, newest = rotated.pieces
    for wrong in (
        [oldest, oldest, middle, newest],
        [middle, oldest, newest],
        [newest, middle, oldest],
        [oldest, middle, newest, rotated.path],
    ):
        report = alone(rotated, earlier=wrong)
        assert (report.ok, report.anchored, report.first_bad_line) == (False, False, 1), wrong
    assert (
        "audit.jsonl.3: this line is entry 1 again" in alone(rotated, earlier=[oldest, oldest, middle]).reason
    )


def test_the_log_itself_removed_and_begun_again(make_trail):
    """The head still knows of what was there."""
    trail = make_trail(key="key")
    trail.read(4)
    trail.path.unlink()
    assert not alone(trail).ok
    trail.read()
    report = alone(trail)
    assert summary(report) == (False, False, 0, 1)
    # "removed" where the new file was given the number of the old one: it is then one that was cut.
    assert report.reason in {f"entries 1 to 4 are {MISSING}", "entries 1 to 4 are missing here: removed"}
    assert summary(alone(trail, first=5)) == (True, True, 1, None)
    assert not alone(trail, first=4).ok
    assert [(one.ok, one.anchored) for _, one in verify_pieces(trail.path, "key")] == [(False, False)]


def test_a_rotation_that_nobody_has_written_after(rotated):
    """The new file is empty, or not there yet: with its pieces the log is whole, alone it is not."""
    moved = rotated.path.rename(rotated.path.with_name("audit.jsonl.0"))
    rotated.pieces.append(moved)
    assert summary(whole(rotated)) == (True, True, 14, None)
    assert not alone(rotated).ok
    rotated.path.touch()
    assert summary(whole(rotated)) == (True, True, 14, None)
    assert not alone(rotated).ok
    assert all(one.ok and one.anchored for _, one in verify_pieces(rotated.path, "key"))
    moved.write_bytes(b"".join(moved.read_bytes().splitlines(keepends=True)[:-1]))
    assert not whole(rotated).ok


def test_copytruncate(make_trail):
    """The copy and what follows are one chain; a line that was lost between the two is missed."""
    trail = make_trail(key="key")
    trail.read(4)
    copy = trail.path.with_name("audit.jsonl.1")
    shutil.copyfile(trail.path, copy)
    trail.pieces = [copy]
    os.truncate(trail.path, 0)
    assert summary(whole(trail)) == (True, True, 4, None)
    trail.read(3)
    assert summary(whole(trail)) == (True, True, 7, None)
    assert not alone(trail).ok
    assert not alone(trail, first=4).ok
    assert summary(alone(trail, first=5)) == (True, True, 3, None)
    copy.write_bytes(b"".join(copy.read_bytes().splitlines(keepends=True)[:-1]))
    report = whole(trail)
    assert (report.ok, report.reason) == (False, "entry 4 is missing here: removed")


def test_packed_pieces_are_unpacked(rotated):
    for number, piece in enumerate(rotated.pieces[:2]):
        packed = piece.with_name(f"{piece.name}.gz")
        packed.write_bytes(gzip.compress(piece.read_bytes()))
        piece.unlink()
        rotated.pieces[number] = packed
    assert summary(whole(rotated)) == (True, True, 14, None)
    assert [one.ok for _, one in verify_pieces(rotated.path, "key")] == [True] * 4
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(AuditError, match=r"audit\.jsonl\.2\.gz cannot be read"):
        whole(rotated)


def test_what_lies_beside_a_log_and_is_not_a_piece_does_no_harm(rotated, make_trail, tmp_path):
    """Copies, another log's lines, other files: none of them makes a whole log look broken."""
    folder = rotated.path.parent
    for name in ("bak", "old", "12.bak"):
        shutil.copyfile(rotated.path, folder / f"audit.jsonl.{name}")
    shutil.copyfile(rotated.pieces[0], folder / "audit.jsonl.copy")
    lines = rotated.pieces[1].read_bytes().splitlines(keepends=True)
    (folder / "audit.jsonl.part").write_bytes(b"".join(lines[:2]))
    (folder / "audit.jsonl.swp").write_bytes(os.urandom(3000))
    (folder / "audit.jsonl.gz").write_bytes(b"no gzip")
    (folder / "audit.jsonl.d").mkdir()
    os.mkfifo(folder / "audit.jsonl.fifo")
    other = make_trail(path=tmp_path / "other.jsonl", key="key")
    other.read(12)
    shutil.copyfile(other.path, folder / "audit.jsonl.other")
    found = verify_pieces(rotated.path, "key")
    assert [one.ok for _, one in found] == [True] * 4, found


def test_dated_names_are_found(rotated):
    for number, piece in enumerate(rotated.pieces):
        piece.rename(piece.with_name(f"audit.jsonl-2026010{number}"))
    assert [one.ok for _, one in verify_pieces(rotated.path, "key")] == [True] * 4


def test_tampering_within_a_piece_is_named(rotated):
    """At its line, with the name of the piece; 60 times."""
    rng = random.Random(13)
    for _ in range(60):
        piece = rng.choice(rotated.pieces)
        saved = piece.read_bytes()
        lines = saved.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        place = rng.randrange(len(lines[at]) - 1)
        byte = rng.choice([one for one in range(256) if one not in {lines[at][place], 10}])
        lines[at] = lines[at][:place] + bytes([byte]) + lines[at][place + 1 :]
        piece.write_bytes(b"".join(lines))
        report = whole(rotated)
        assert (report.ok, report.anchored, report.first_bad_line) == (False, False, at + 1)
        assert report.reason.startswith(f"{piece.name}: ")
        assert not all(one.ok for _, one in verify_pieces(rotated.path, "key"))
        piece.write_bytes(saved)


def test_an_anchor_may_lie_in_any_piece(rotated):
    anchor = verify_pieces(rotated.path, "key")[1][1].head
    assert summary(whole(rotated, expect_head=anchor)) == (True, True, 14, None)
    report = whole(rotated, expect_head="0" * 63 + "1")
    assert (report.ok, report.anchored) == (False, False)
    assert "expected head" in report.reason


def test_pieces_that_cannot_be_read(rotated, tmp_path):
    with pytest.raises(AuditError, match="No such file"):
        alone(rotated, earlier=[tmp_path / "none"])
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError, match="not an ordinary file"):
        alone(rotated, earlier=[tmp_path / "fifo"])
