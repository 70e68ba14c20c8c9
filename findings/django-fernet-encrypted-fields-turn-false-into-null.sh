#!/usr/bin/env bash
# django-fernet-encrypted-fields 0.4.0 (Django 5.2.9, cryptography 50.0.2): what is false is stored as NULL, and within JSON it comes back as true.
# Seen: 0, 0.0, False and the empty text in an encrypted field are NULL in the table, and None when the row is read; where the column must have a
# value, saving the row ends with IntegrityError. 7, True and "0" come back as they were. EncryptedJSONField makes text of everything within it: of
# {"enabled": false, "pin": 0, "note": null} it gives {"enabled": "False", "pin": "0", "note": "None"}, three values that are true in a
# condition. Django's own fields keep all of these. Nothing warns. Guess: encryption keeps a value as it is.
# Ends with 0 where that is still so.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check django==5.2.9 django-fernet-encrypted-fields==0.4.0 cryptography==50.0.2
cat >see.py <<'END'
import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SECRET_KEY="key",
    SALT_KEY="salt",
    USE_TZ=True,
)
django.setup()

from django.db import IntegrityError, connection, models
from encrypted_fields import fields

KINDS = {"number": "IntegerField", "fraction": "FloatField", "enabled": "BooleanField", "text": "TextField", "more": "JSONField"}


def table(name, prefix, module, **options):
    """A model of five fields of a module."""
    columns = {key: getattr(module, prefix + kind)(**options) for key, kind in KINDS.items()}
    meta = type("Meta", (), {"app_label": "shop"})
    model = type(name, (models.Model,), {"__module__": "shop", "Meta": meta, **columns})
    with connection.schema_editor() as editor:
        editor.create_model(model)
    return model


def see(model, **values):
    """The values that are read after these are stored."""
    try:
        model.objects.create(**values)
    except IntegrityError as error:
        print(model.__name__, values, "->", error)
        return "IntegrityError"
    read = model.objects.values(*KINDS).last()
    print(model.__name__, values, "->", read)
    return read


plain = table("Plain", "", models)
encrypted = table("Encrypted", "Encrypted", fields, null=True)
required = table("Required", "Encrypted", fields)
false = {"number": 0, "fraction": 0.0, "enabled": False, "text": "", "more": {"enabled": False, "pin": 0, "note": None}}
true = {"number": 7, "fraction": 0.5, "enabled": True, "text": "0", "more": {"token": "hush"}}
texts = {"enabled": "False", "pin": "0", "note": "None"}
assert see(plain, **true) == see(encrypted, **true) == see(required, **true) == true
assert see(plain, **false) == false
assert see(encrypted, **false) == {**dict.fromkeys(KINDS), "more": texts}
with connection.cursor() as cursor:
    cursor.execute(f"SELECT number, fraction, enabled, text FROM {encrypted._meta.db_table} ORDER BY id DESC LIMIT 1")
    assert cursor.fetchone() == (None, None, None, None)
for name in "number", "fraction", "enabled", "text":
    assert see(required, **{**true, name: false[name]}) == "IntegrityError"
assert all(texts.values())
END
venv/bin/python see.py
