"""Every exception class of the keyring library, and of what lies below it, has its place in the table."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import jeepney.auth
import jeepney.io.common
import jeepney.wrappers
import keyring.errors
import pytest
import secretstorage.exceptions
from strongroom.errors import BackendUnavailableError, StrongroomError, ValidationError
from strongroom_keyring.errors import TABLE, kind_of, translate

# Raised while a D-Bus message is made or file descriptors are passed, which no call of ours does.
NOT_MET = {"jeepney.auth.FDNegotiationError"}


def classes_of(module):
    return [
        f"{cls.__module__}.{cls.__qualname__}"
        for cls in vars(module).values()
        if isinstance(cls, type) and issubclass(cls, Exception) and cls.__module__ == module.__name__
    ]


@pytest.mark.parametrize(
    "module",
    [keyring.errors, secretstorage.exceptions, jeepney.wrappers, jeepney.auth, jeepney.io.common],
    ids=lambda module: module.__name__,
)
def test_every_class_of_the_libraries_is_mapped(module):
    assert [name for name in classes_of(module) if name not in TABLE.keys() | NOT_MET] == []


def test_every_class_of_the_macos_keychain_is_mapped():
    # Importing that module needs macOS; its text does not.
    folder = Path(keyring.errors.__file__).parent / "backends" / "macOS" / "api.py"
    tree = ast.parse(folder.read_text())
    bases = {"Exception", "Error"}
    found = {
        f"keyring.backends.macOS.api.{node.name}"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(isinstance(b, ast.Name) and b.id in bases for b in node.bases)
    }
    assert found
    assert found - TABLE.keys() == set()


def test_every_name_in_the_table_exists():
    for name in TABLE:
        module, _, attribute = name.rpartition(".")
        if module != "keyring.backends.macOS.api":
            assert issubclass(getattr(importlib.import_module(module), attribute), Exception)


def test_a_subclass_counts_as_its_nearest_base():
    assert kind_of(ConnectionRefusedError()) is BackendUnavailableError
    assert kind_of(ZeroDivisionError()) is StrongroomError


def test_an_error_that_holds_the_value_is_not_passed_on():
    error = translate(keyring.errors.PasswordSetError("cannot set hunter2"), doing="set", hidden="hunter2")
    assert "hunter2" not in str(error)
    assert error.__cause__ is None


def test_bytes_that_are_no_text_are_not_passed_on():
    with pytest.raises(UnicodeDecodeError) as caught:
        b"hunter2\xff".decode()
    error = translate(caught.value, doing="get", key="a")
    assert type(error) is ValidationError
    assert error.__cause__ is None
    assert "hunter2" not in str(error)
