#!/usr/bin/env bash
# django-encrypted-model-fields 0.6.5 and django-fernet-encrypted-fields 0.4.0, Django 5.2.9: without the right key a field has the ciphertext for its
# value, and the next save of the row encrypts it again.
# Seen: a password is stored under one key. Where the settings have another key alone, the model gives the token gAAAA… for the password, as an
# ordinary text, with no error and no warning. A process with that key that changes only the name of the row and saves it encrypts
# the token under the new key: the old key alone gives another token now, and the settings that are mended, with both keys, give the token of
# before instead of the password, while a row that nobody saved meanwhile gives its password. Decrypted once more by hand the token gives the
# password. Guess: a value that cannot be decrypted is an error, and a setting that is put right puts the values right.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for name in model fernet; do python3 -m venv "$name"; done
model/bin/pip install -q --disable-pip-version-check django==5.2.9 django-encrypted-model-fields==0.6.5 cryptography==50.0.2
fernet/bin/pip install -q --disable-pip-version-check django==5.2.9 django-fernet-encrypted-fields==0.4.0 cryptography==50.0.2
cat >step.py <<'END'
"""One process of the application: `step.py MODULE STEP`, with the keys in the environment."""

import os
import sys
from importlib import import_module

import django
from django.conf import settings

keys = os.environ["KEYS"].split()
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{sys.argv[1]}.db"}},
    FIELD_ENCRYPTION_KEY=keys,
    SECRET_KEY=keys[0],
    SECRET_KEY_FALLBACKS=keys[1:],
    SALT_KEY="salt",
    USE_TZ=True,
)
django.setup()

from django.db import connection, models

EncryptedTextField = import_module(sys.argv[1]).EncryptedTextField


class Login(models.Model):
    name = models.TextField()
    password = EncryptedTextField()

    class Meta:
        app_label = "shop"


match sys.argv[2]:
    case "store":
        with connection.schema_editor() as editor:
            editor.create_model(Login)
        for name in ("saved", "left"):
            Login.objects.create(name=name, password="hush")
    case "rename":
        login = Login.objects.get(name="saved")
        login.name = "saved by the wrong key"
        login.save()
decrypt = Login._meta.get_field("password").to_python
for login in Login.objects.order_by("id"):
    print(decrypt(login.password) if sys.argv[2] == "decrypt once more" else login.password)
END
cat >see.py <<'END'
import os
import subprocess
import sys

from cryptography.fernet import Fernet

old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def see(step, *keys):
    """The passwords of the row that a wrong key saves and of the one that is left, and nothing else that is said."""
    words = [sys.executable, "step.py", sys.argv[1], step]
    done = subprocess.run(words, env={**os.environ, "KEYS": " ".join(keys)}, capture_output=True, text=True, check=True)
    named = " ".join({old: "old", new: "new"}[key] for key in keys)
    print(f"{step} with {named}:", [password[:24] for password in done.stdout.split()])
    assert done.stderr == ""
    return done.stdout.split()


print(sys.argv[1])
assert see("store", old) == ["hush", "hush"]
assert see("read", new, old) == ["hush", "hush"]
wrong = see("read", new)
assert all(password.startswith("gAAAA") for password in wrong)
assert see("rename", new) == wrong
assert see("read", old)[0].startswith("gAAAA")
mended = see("read", new, old)
assert mended == [wrong[0], "hush"]
assert see("decrypt once more", new, old) == ["hush", "hush"]
END
model/bin/python see.py encrypted_model_fields.fields
fernet/bin/python see.py encrypted_fields.fields
