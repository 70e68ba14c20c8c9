from __future__ import annotations

import importlib
import subprocess
import sys

import packages.enterprise
import pytest
import strongroom


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("packages.enterprise.secrets", "strongroom"),
        ("packages.enterprise.multi_tenant", "strongroom"),
        ("packages.enterprise.secrets.middleware", "strongroom.middleware"),
    ],
)
def test_each_public_name_is_strongrooms_own(path, source):
    ours, theirs = importlib.import_module(path), importlib.import_module(source)
    assert set(theirs.__all__) <= set(dir(ours))
    for name in theirs.__all__:
        assert getattr(ours, name) is getattr(theirs, name)


def test_backends_are_the_plugins_classes():
    from packages.enterprise.secrets.backends import KeyringSecretProvider
    from strongroom_keyring import KeyringSecretProvider as Theirs

    assert KeyringSecretProvider is Theirs


def test_a_name_that_core_gets_later_is_there_too(monkeypatch):
    monkeypatch.setattr(strongroom, "SomethingNew", object, raising=False)
    from packages.enterprise.secrets import SomethingNew

    assert SomethingNew is object


def test_a_name_that_is_nowhere_is_an_import_error():
    with pytest.raises(ImportError):
        from packages.enterprise.secrets import NoSuchName  # noqa: F401  # it cannot be


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("secrets", "SecretProviderRegistry"),
        ("secrets.backends", "MemorySecretProvider"),
        ("secrets.encryption", "FernetEncryption"),
        ("secrets.middleware", "CachingMiddleware"),
        ("multi_tenant", "TenantContext"),
    ],
)
def test_a_star_brings_all_public_names(path, name):
    names = {}
    exec(f"from packages.enterprise.{path} import *", names)  # a star is for the top of a module alone
    assert names[name].__name__ == name


def test_submodules_are_found_as_attributes():
    from packages.enterprise import secrets

    assert secrets.backends.__name__ == "packages.enterprise.secrets.backends"
    assert secrets.middleware.__name__ == "packages.enterprise.secrets.middleware"


def test_the_outer_packages_stay_open_to_others():
    assert packages.__file__ is None
    assert packages.enterprise.__file__ is None


def test_importing_loads_no_backend():
    code = (
        "import sys, packages.enterprise.secrets.backends, packages.enterprise.multi_tenant;"
        "print([m for m in sys.modules if m.startswith(('strongroom_', 'sqlite3', 'pydantic_settings'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
