"""Edits of the database are found: never a wrong value, never an old one, never "not found", never a short list."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
from contextlib import closing, suppress

import pytest
from strongroom.encryption.keys import generate_key
from strongroom.errors import (
    ConfigurationError,
    DecryptionError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
)
from strongroom_file import FileSecretProvider
from strongroom_file.store.format import TABLES

KEY = generate_key()
COUNT = 120


def _names(count=COUNT):
    return [f"app/service-{number:03d}/password" for number in range(count)]


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """Two states of one store, and what the later one holds."""
    folder = tmp_path_factory.mktemp("states")
    store = folder / "store"
    values = {}
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secrets({name: f"old of {name}" for name in _names()})
        provider.set_secret("doomed", "deleted later")
        provider.close()
        shutil.copy(store, folder / "old")
        for number, name in enumerate(_names()):
            values[name] = f"old of {name}"
            if number % 3 == 0:
                values[name] = f"new of {name}"
                provider.set_secret(name, values[name])
            if number % 7 == 0:
                provider.stage_secret(name, "pending")
        provider.delete_secret("doomed")
        provider.set_secret("late", values.setdefault("late", "came late"))
    shutil.copy(store, folder / "new")
    return folder / "old", folder / "new", values


def _one(connection, table, chance):
    rows = connection.execute(f"SELECT id, body FROM {table} ORDER BY id").fetchall()
    return chance.choice(rows)


def _two(connection, table, chance):
    rows = connection.execute(f"SELECT id, body FROM {table} ORDER BY id").fetchall()
    return chance.sample(rows, 2)


def _many(chance):
    return chance.choice(["node", "history", "value"])


def delete(connection, chance, _):
    table = chance.choice(TABLES)
    connection.execute(f"DELETE FROM {table} WHERE id=?", _one(connection, table, chance)[:1])


def swap(connection, chance, _):
    table = _many(chance)
    (first, one), (second, two) = _two(connection, table, chance)
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (two, first))
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (one, second))


def copy_over(connection, chance, _):
    table = _many(chance)
    (_, one), (second, _) = _two(connection, table, chance)
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (one, second))


def insert_stranger(connection, chance, _):
    table = chance.choice(TABLES)
    connection.execute(
        f"INSERT INTO {table} VALUES (?, ?)", (chance.randrange(10**6, 10**7), chance.randbytes(80))
    )


def duplicate(connection, chance, _):
    table = chance.choice(TABLES)
    body = _one(connection, table, chance)[1]
    connection.execute(f"INSERT INTO {table} VALUES (?, ?)", (chance.randrange(10**6, 10**7), body))


def replay_row(connection, chance, old):
    table = chance.choice(["root", "node"])
    was = dict(old.execute(f"SELECT id, body FROM {table}").fetchall())
    row = chance.choice(
        [
            row
            for row, body in connection.execute(f"SELECT id, body FROM {table}")
            if was.get(row, body) != body
        ]
    )
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (was[row], row))


def replay_table(connection, chance, old):
    table = chance.choice(["root", "node", "value"])
    rows = old.execute(f"SELECT id, body FROM {table}").fetchall()
    connection.execute(f"DELETE FROM {table}")
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", rows)


def resurrect(connection, _, old):
    there = {row for (row,) in connection.execute("SELECT id FROM value")}
    gone = [row for row in old.execute("SELECT id, body FROM value").fetchall() if row[0] not in there]
    assert gone
    connection.executemany("INSERT INTO value VALUES (?, ?)", gone)


def flip_bit(connection, chance, _):
    table = chance.choice(TABLES)
    row, body = _one(connection, table, chance)
    changed = bytearray(body)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (bytes(changed), row))


def cut_short(connection, chance, _):
    table = chance.choice(TABLES)
    row, body = _one(connection, table, chance)
    connection.execute(f"UPDATE {table} SET body=? WHERE id=?", (body[: chance.randrange(len(body))], row))


def lengthen(connection, chance, _):
    table = chance.choice(TABLES)
    row, body = _one(connection, table, chance)
    connection.execute(
        f"UPDATE {table} SET body=? WHERE id=?", (body + chance.randbytes(chance.randrange(1, 40)), row)
    )


def drop_table(connection, chance, _):
    connection.execute(f"DROP TABLE {chance.choice(TABLES)}")


def empty_table(connection, chance, _):
    connection.execute(f"DELETE FROM {chance.choice(TABLES)}")


def metadata(connection, chance, _):
    number = chance.choice([1, *range(3, 1000)])  # format 1 is known too, and this is none
    connection.execute(f"PRAGMA {chance.choice(['user_version', 'application_id'])}={number}")


def trigger(connection, chance, _):
    table = _many(chance)
    connection.execute(f"CREATE TRIGGER sly AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END")


def move_row(connection, chance, _):
    table = _many(chance)
    row, _ = _one(connection, table, chance)
    connection.execute(f"UPDATE {table} SET id=? WHERE id=?", (chance.randrange(10**6, 10**7), row))


EDITS = [
    delete, swap, copy_over, insert_stranger, duplicate, replay_row, replay_table, resurrect, flip_bit,
    cut_short, lengthen, drop_table, empty_table, metadata, trigger, move_row,
]  # fmt: skip


def assert_only_truth(provider, values):
    """Every answer is the right one or an error that says what happened; at least one thing is told by `verify`."""
    for name, value in values.items():
        try:
            read = provider.get_secret(name)
        except SecretNotFoundError:
            pytest.fail(f"{name} was told as not found")
        except (DecryptionError, ConfigurationError):
            continue
        assert read == value
    with suppress(DecryptionError, ConfigurationError):
        assert provider.list_secrets() == sorted(values)
    try:
        found = provider.get_secrets(values)
    except (DecryptionError, ConfigurationError):
        pass
    else:
        assert found == values
    for absent in ("doomed", "never"):
        with pytest.raises((SecretNotFoundError, DecryptionError, ConfigurationError)):
            provider.get_secret(absent)


def _edited(states, folder, edit, seed):
    old, new, values = states
    store = folder / "store"
    for side in ("-wal", "-shm"):
        (folder / f"store{side}").unlink(missing_ok=True)
    shutil.copy(new, store)
    with closing(sqlite3.connect(old)) as before, closing(sqlite3.connect(store)) as connection:
        edit(connection, random.Random(seed), before)
        connection.commit()
    with FileSecretProvider(store, KEY) as provider:
        try:
            problems = provider.verify()
        except (DecryptionError, ConfigurationError) as error:
            problems = [str(error)]
        assert problems, f"{edit.__name__} {seed} was not found"
        assert_only_truth(provider, values)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_edits_are_found(edit, states, tmp_path):
    """A few of each kind of edit."""
    for seed in range(2):
        _edited(states, tmp_path, edit, seed)


@pytest.mark.torture
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_all_edits_are_found(edit, states, tmp_path):
    """Two hundred of each kind of edit."""
    for seed in range(200):
        _edited(states, tmp_path, edit, seed)


def _flipped(states, folder, seed):
    _, new, values = states
    chance = random.Random(seed)
    data = bytearray(new.read_bytes())
    for _ in range(chance.choice([1, 1, 3, 20])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    store = folder / f"flipped-{seed}"
    store.write_bytes(data)
    with FileSecretProvider(store, KEY) as provider:
        assert_only_truth(provider, values)


def test_flipped_bits_never_lie(states, tmp_path):
    """Bits flipped anywhere in the file give the right value or an error."""
    for seed in range(15):
        _flipped(states, tmp_path, seed)


@pytest.mark.torture
def test_many_flipped_bits_never_lie(states, tmp_path):
    """The same, 2,000 times."""
    for seed in range(1000, 3000):
        _flipped(states, tmp_path, seed)


@pytest.mark.parametrize("part", [0, 1, 100, 4096, 5000, 20_000])
def test_a_file_that_was_cut_off(states, tmp_path, part):
    """A truncated file is an error, an empty one too: never a store without secrets."""
    _, new, values = states
    store = tmp_path / "store"
    store.write_bytes(new.read_bytes()[:part])
    with FileSecretProvider(store, KEY) as provider:
        for call in (
            lambda: provider.get_secret("late"),
            provider.list_secrets,
            lambda: provider.set_secret("a", "b"),
        ):
            with pytest.raises(TamperedError):
                call()
        assert provider.verify()
    assert store.read_bytes() == new.read_bytes()[:part]
    assert values


def test_what_is_removed_is_told_where_a_read_meets_it(states, tmp_path):
    """Removing one value is an error for its key, which the error names, and for no other."""
    store = tmp_path / "store"
    _, new, values = states
    shutil.copy(new, store)
    with closing(sqlite3.connect(store)) as connection:
        (row,) = connection.execute("SELECT max(id) FROM value").fetchone()
        connection.execute("DELETE FROM value WHERE id=?", (row,))
        connection.commit()
    with FileSecretProvider(store, KEY) as provider:
        with pytest.raises(TamperedError) as caught:
            provider.get_secret("late")
        assert (caught.value.key, caught.value.provider) == ("late", "file")
        del values["late"]
        assert provider.get_secrets(values) == values
        assert any("'late'" in line for line in provider.verify())
        values["late"] = "came late"


def test_an_edit_under_an_open_store_is_seen(states, tmp_path):
    """Who has the store open, and read the key just now, sees the edit too."""
    store = tmp_path / "store"
    shutil.copy(states[1], store)
    with FileSecretProvider(store, KEY) as provider:
        assert provider.get_secret("late") == provider.get_secret("late") == "came late"
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("DELETE FROM node")
            connection.execute("UPDATE value SET body=zeroblob(60)")
            connection.commit()
        with pytest.raises(TamperedError):
            provider.get_secret("late")
        with pytest.raises(TamperedError):
            provider.list_secrets()


def test_removed_nodes_are_missed_under_an_open_store(states, tmp_path):
    """An edit that left the root alone makes an open store look at every node again."""
    store = tmp_path / "store"
    shutil.copy(states[1], store)
    with FileSecretProvider(store, KEY) as provider:
        provider.get_secret("late")
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("DELETE FROM node")
            connection.commit()
        with pytest.raises(TamperedError):
            provider.describe_secret("late")


def test_an_older_state_is_seen_by_who_saw_the_newer(states, tmp_path):
    """All rows put back at once, or the file itself, cannot deceive a process that has seen a later commit."""
    old, new, _ = states
    store = tmp_path / "store"
    shutil.copy(new, store)
    with FileSecretProvider(store, KEY) as provider:
        provider.get_secret("late")
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("ATTACH ? AS old", (str(old),))
            for table in TABLES:
                connection.execute(f"DELETE FROM main.{table}")
                connection.execute(f"INSERT INTO main.{table} SELECT * FROM old.{table}")
            connection.commit()
        with pytest.raises(TamperedError):
            provider.get_secret("late")
        provider.close()
        shutil.copy(old, store)
        with pytest.raises(TamperedError):
            provider.list_secrets()
        store.unlink()
        with pytest.raises(TamperedError):
            provider.get_secret("late")


def test_an_anchor_tells_an_older_file(states, tmp_path):
    """The whole file put back is told by an anchor that was kept elsewhere, and by nothing else."""
    old, new, _ = states
    store = tmp_path / "store"
    shutil.copy(new, store)
    with FileSecretProvider(store, KEY) as provider:
        anchor = provider.anchor()
        assert provider.verify(anchor) == []
    shutil.copy(old, store)
    with FileSecretProvider(store, KEY) as provider:
        assert provider.verify() == []
        assert any("older than the anchor" in line for line in provider.verify(anchor))
        assert provider.verify("rubbish") == ["the anchor is not valid: expected epoch:commits:digest"]
    store.unlink()
    with FileSecretProvider(store, KEY) as provider:
        assert provider.verify(anchor)


def test_two_histories_of_one_store(states, tmp_path):
    """As many commits, and other ones: the anchor tells them apart."""
    store = tmp_path / "store"
    shutil.copy(states[0], store)
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("a", "1")
        anchor = provider.anchor()
    shutil.copy(states[0], store)
    with FileSecretProvider(store, KEY) as provider:
        provider.set_secret("a", "2")
        assert any("not the anchor's" in line for line in provider.verify(anchor))


def test_rows_of_another_store_are_no_rows_of_this(states, tmp_path):
    """Under the same key, a row of another store does not open here."""
    store, other = tmp_path / "store", tmp_path / "other"
    shutil.copy(states[1], store)
    with FileSecretProvider(other, KEY) as provider:
        provider.set_secret("late", "of another store")
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("ATTACH ? AS other", (str(other),))
        connection.execute("UPDATE root SET body=(SELECT body FROM other.root)")
        connection.commit()
    with FileSecretProvider(store, KEY) as provider, pytest.raises(TamperedError):
        provider.get_secret("late")


def test_nothing_legible_at_rest(states):
    """Neither names nor values, nor a part of them, stand in the file."""
    data = states[1].read_bytes()
    for text in ("service", "password", "late", "came late", "old of", "pending", "app/"):
        assert text.encode() not in data


def test_writes_on_a_damaged_store_are_refused(states, tmp_path):
    """A write that meets the damage changes nothing."""
    store = tmp_path / "store"
    shutil.copy(states[1], store)
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE node SET body=zeroblob(100)")
        connection.commit()
    with FileSecretProvider(store, KEY) as provider:
        for call in (
            lambda: provider.set_secret("new", "value"),
            lambda: provider.delete_secret("late"),
            lambda: provider.rekey(generate_key()),
            lambda: provider.backup(tmp_path / "copy"),
        ):
            with pytest.raises(TamperedError):
                call()
    assert not (tmp_path / "copy").exists()
    with closing(sqlite3.connect(store)) as connection:
        assert {len(body) for (body,) in connection.execute("SELECT body FROM node")} == {100}


def test_errors_hold_no_value(states, tmp_path):
    """What a damaged store says names no value and no key of a cipher."""
    store = tmp_path / "store"
    shutil.copy(states[1], store)
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("UPDATE value SET body=substr(body, 1, length(body) - 1)")
        connection.commit()
    with FileSecretProvider(store, KEY) as provider:
        with pytest.raises(StrongroomError) as caught:
            provider.get_secret("late")
        said = repr(caught.value) + str(caught.value) + " ".join(provider.verify())
    assert "came late" not in said
    assert KEY not in said


def test_doctor_tells_what_was_changed(states, tmp_path, warm_strongroom):
    """`strongroom doctor` reads everything: a row that no call has met is told, by its key."""
    shutil.copy(states[1], tmp_path / "store")
    (tmp_path / "strongroom.yaml").write_text(
        "version: 1\npipelines: {app: {provider: {type: file, file_path: store}}}\n"
    )

    def doctor():
        return subprocess.run(
            [warm_strongroom, "doctor"],
            cwd=tmp_path,
            env={**os.environ, "STRONGROOM_ENCRYPTION_KEY": KEY, "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    well = doctor()
    assert (well.returncode, "integrity verified" in well.stdout) == (0, True)
    with closing(sqlite3.connect(tmp_path / "store")) as connection:
        connection.execute("DELETE FROM value WHERE id=(SELECT max(id) FROM value)")
        connection.commit()
    found = doctor()
    assert found.returncode == 7
    assert "'late'" in found.stdout
    assert "came late" not in found.stdout + found.stderr


@pytest.mark.parametrize(
    "edit",
    [
        "DELETE FROM node",
        "DELETE FROM value",
        "UPDATE value SET body=zeroblob(60)",
        "UPDATE value SET body=coalesce((SELECT body FROM value AS other WHERE other.id=value.id % 50 + 1), body)",
        "UPDATE root SET body=zeroblob(60)",
        "DELETE FROM root",
    ],
)
def test_an_edit_under_an_open_store_is_seen_by_the_first_read_of_a_key(states, tmp_path, edit):
    store = tmp_path / "store"
    _, new, values = states
    shutil.copy(new, store)
    with FileSecretProvider(store, KEY) as provider:
        provider.get_secret("late")
        with closing(sqlite3.connect(store)) as connection:
            connection.execute(edit)
            connection.commit()
        told = 0
        for key in [one for one in values if one != "late"]:
            try:
                assert provider.get_secret(key) == values[key]
            except TamperedError:
                told += 1
        assert told > COUNT / 2
