"""What the tests of providers share: providers of strangers."""

from __future__ import annotations

from strongroom.keys import check_prefix, check_value, is_reserved


class Stranger:
    """Written by somebody who knows the four methods and the rules, and none of our errors but those."""

    def __init__(self):
        self.kept = {}

    def get_secret(self, key):
        return self.kept[key]

    def set_secret(self, key, value):
        self.kept[key] = check_value(value, key)

    def delete_secret(self, key):
        del self.kept[key]

    def list_secrets(self, prefix=""):
        check_prefix(prefix)
        return [key for key in list(self.kept) if key.startswith(prefix) and not is_reserved(key)]


class Failing(Stranger):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def get_secret(self, key):
        raise self.error

    def set_secret(self, key, value):
        raise self.error


class Held(Stranger):
    """Its writes fail with an error that `fail` builds around the value."""

    def __init__(self, fail):
        super().__init__()
        self.fail = fail

    def set_secret(self, key, value):
        self.fail(value)

    def set_secret_if(self, key, value, expected_version):
        self.fail(value)

    def stage_secret(self, key, value):
        self.fail(value)

    def promote_version(self, key, version, *, expected_version):
        self.fail(version)

    def discard_version(self, key, version):
        self.fail(version)

    def set_secrets(self, values):
        for value in values.values():
            self.fail(value)


def by_cause(value):
    raise RuntimeError("write failed") from ValueError(value)
