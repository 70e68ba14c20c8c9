"""Providers that are wrong in one way each, with the test of the kit that is meant to catch it.

`caught_by` names the test; `kit` holds attributes of the kit that the case needs. They come in through
`WRONG`; the tests run each with its test, and a right provider with all of them.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import unicodedata
import warnings
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

from strongroom.errors import ConflictError, SecretNotFoundError, SecretTooLargeError, ValidationError
from strongroom.keys import check_key
from strongroom.providers import SecretChange
from strongroom_memory import MemorySecretProvider

LIMIT = 1000


class Right(MemorySecretProvider):
    """Does everything right: what the wrong ones are compared with."""

    caught_by: ClassVar[str] = ""
    kit: ClassVar[dict[str, Any]] = {}

    requests = 0

    def count(self) -> int:
        return self.requests

    def set_secret(self, key, value):
        if isinstance(value, str) and len(value.encode("utf-8", "replace")) > LIMIT and self._limited:
            raise SecretTooLargeError(key, provider="memory")
        super().set_secret(key, value)

    @property
    def _limited(self) -> bool:
        return "max_value_bytes" in self.kit


class RightWithLimit(Right):
    """As right, and with a limit."""

    kit: ClassVar = {"max_value_bytes": LIMIT}


class GivesNoneForAbsent(Right):
    caught_by = "test_get_of_an_absent_key"

    def get_secret(self, key):
        return self.get_secrets([key]).get(key)


class GivesEmptyForAbsent(Right):
    caught_by = "test_get_of_an_absent_key"

    def get_secret(self, key):
        return self.get_secrets([key]).get(key, "")


class RaisesPlainKeyError(Right):
    caught_by = "test_get_of_an_absent_key"

    def get_secret(self, key):
        return self.get_secrets([check_key(key)])[key]


class TakesEmptyForAbsent(Right):
    caught_by = "test_empty_is_not_absent"

    def get_secret(self, key):
        value = super().get_secret(key)
        if not value:
            raise SecretNotFoundError(key, provider="memory")
        return value


class NamesTheBackendsName(Right):
    caught_by = "test_not_found_names_the_key"

    def get_secret(self, key):
        if key not in self.get_secrets([key]):
            raise SecretNotFoundError(key.upper(), provider="memory")
        return super().get_secret(key)


class ForgetsItsName(Right):
    caught_by = "test_not_found_names_the_provider"

    def _not_found(self, key):
        return SecretNotFoundError(key)


class DeletesNothingGladly(Right):
    caught_by = "test_delete_of_an_absent_key"

    def delete_secret(self, key):
        if key in self.get_secrets([key]):
            super().delete_secret(key)


class RefusesToReplace(Right):
    caught_by = "test_set_replaces"

    def set_secret(self, key, value):
        self.set_secret_if(key, value, None)


class RefusesToSetAgain(Right):
    """As a service that keeps the name of a deleted secret for a while."""

    caught_by = "test_delete_then_set_again"

    def __init__(self):
        super().__init__()
        self.deleted = set()

    def delete_secret(self, key):
        super().delete_secret(key)
        self.deleted.add(key)

    def set_secret(self, key, value):
        if key in self.deleted:
            raise ConflictError("the name is taken by a deleted secret", key=key, provider="memory")
        super().set_secret(key, value)


class StripsValues(Right):
    caught_by = "test_hostile_value_round_trips"

    def set_secret(self, key, value):
        super().set_secret(key, value.strip() if isinstance(value, str) else value)


class TranslatesNewlines(Right):
    caught_by = "test_hostile_value_round_trips"

    def set_secret(self, key, value):
        super().set_secret(key, value.replace("\r\n", "\n") if isinstance(value, str) else value)


class UnwrapsJson(Right):
    caught_by = "test_hostile_value_round_trips"

    def get_secret(self, key):
        value = super().get_secret(key)
        return "x" if value == '{"value": "x"}' else value


class TurnsIntoText(Right):
    caught_by = "test_no_text_is_refused"

    def set_secret(self, key, value):
        super().set_secret(key, str(value))


class StoresSurrogates(Right):
    caught_by = "test_lone_surrogate_is_refused"

    def set_secret(self, key, value):
        super().set_secret(key, value.encode("utf-8", "replace").decode())


class CutsLargeValues(Right):
    caught_by = "test_too_large_a_value_leaves_the_old_one"
    kit: ClassVar = {"max_value_bytes": LIMIT}

    def set_secret(self, key, value):
        super().set_secret(key, value[:LIMIT])


class LosesTheOldValue(Right):
    caught_by = "test_too_large_a_value_leaves_the_old_one"
    kit: ClassVar = {"max_value_bytes": LIMIT}

    def set_secret(self, key, value):
        if key in self.get_secrets([key]):
            self.delete_secret(key)
        super().set_secret(key, value)


class CountsCharacters(Right):
    caught_by = "test_too_many_wide_characters_are_too_large"
    kit: ClassVar = {"max_value_bytes": LIMIT}

    def set_secret(self, key, value):
        if len(value) > LIMIT:
            raise SecretTooLargeError(key, provider="memory")
        MemorySecretProvider.set_secret(self, key, value)


class Renaming(Right):
    """Stores under another name; each case below loses something by it."""

    def name(self, key):
        return key

    def get_secret(self, key):
        return super().get_secret(self.name(key))

    def set_secret(self, key, value):
        super().set_secret(self.name(key), value)


class FoldsCase(Renaming):
    caught_by = "test_case_matters"

    def name(self, key):
        return key.lower()


class Normalises(Renaming):
    caught_by = "test_normalisation_matters"

    def name(self, key):
        return unicodedata.normalize("NFC", key)


class StripsKeys(Renaming):
    caught_by = "test_trailing_space_matters"

    def name(self, key):
        return key.strip()


class CutsKeys(Renaming):
    caught_by = "test_long_keys_that_differ_at_the_end_stay_apart"

    def name(self, key):
        return key[:255]


class ReplacesPunctuation(Renaming):
    caught_by = "test_keys_that_narrow_alphabets_confuse_stay_apart"

    def name(self, key):
        return key.replace("/", "_")


class EscapesWithoutEscapingTheMarker(Renaming):
    caught_by = "test_generated_keys_stay_apart"

    def name(self, key):
        return key.replace("/", "-").replace("%", "-")


class ListsNames(Right):
    """Reads and writes rightly, and lists the backend's names instead of the keys."""

    caught_by = "test_hostile_key_round_trips"

    def list_secrets(self, prefix=""):
        return [key.replace("é", "e") for key in super().list_secrets(prefix)]


class TakesAnyKey(Right):
    caught_by = "test_invalid_key_is_refused_by_get"

    def get_secret(self, key):
        if key not in self._values:
            raise SecretNotFoundError(key, provider="memory")
        return self._values[key]


class TakesAnyKeyInBatches(Right):
    caught_by = "test_invalid_key_is_refused_by_batch_reads"

    def get_secrets(self, keys):
        return {key: self._values[key] for key in keys if key in self._values}


class AsksBeforeItChecks(Right):
    caught_by = "test_invalid_keys_cost_no_request"

    def get_secret(self, key):
        self.requests += 1
        return super().get_secret(key)


class ListsOnePage(Right):
    caught_by = "test_list_has_all_pages"

    def list_secrets(self, prefix=""):
        return super().list_secrets(prefix)[:100]


class ListsByWriting(Right):
    caught_by = "test_list_is_sorted"

    def list_secrets(self, prefix=""):
        listed = set(super().list_secrets(prefix))
        return [key for key in self._values if key in listed]


class TakesPrefixesForFolders(Right):
    caught_by = "test_prefix_within_a_segment"

    def list_secrets(self, prefix=""):
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        return super().list_secrets(folder)


class TakesPrefixesForPatterns(Right):
    caught_by = "test_prefix_is_no_pattern"

    def list_secrets(self, prefix=""):
        if prefix.endswith("_"):
            return [key for key in super().list_secrets(prefix[:-1]) if len(key) >= len(prefix)]
        return super().list_secrets(prefix)


class ShortensKeys(Right):
    caught_by = "test_list_gives_whole_keys"

    def list_secrets(self, prefix=""):
        return [key.removeprefix(prefix) for key in super().list_secrets(prefix)]


class ListsOneLevel(Right):
    caught_by = "test_list_goes_down_all_levels"

    def list_secrets(self, prefix=""):
        return [key for key in super().list_secrets(prefix) if "/" not in key[len(prefix) :]]


class ListsTheDeleted(Right):
    caught_by = "test_a_deleted_key_is_not_listed"

    def __init__(self):
        super().__init__()
        self.ever = set()

    def set_secret(self, key, value):
        super().set_secret(key, value)
        self.ever.add(key)

    def list_secrets(self, prefix=""):
        super().list_secrets(prefix)
        return sorted(key for key in self.ever if key.startswith(prefix))


class ListsRotationState(Right):
    caught_by = "test_rotation_state_is_stored_and_never_listed"

    def list_secrets(self, prefix=""):
        return sorted(key for key in self._values if key.startswith(prefix))


class HidesTooMuch(Right):
    caught_by = "test_only_the_whole_segment_is_reserved"

    def list_secrets(self, prefix=""):
        return [key for key in super().list_secrets(prefix) if ".rotation" not in key]


class SharesItsList(Right):
    caught_by = "test_list_returns_a_list_of_ones_own"

    def __init__(self):
        super().__init__()
        self.listed = []

    def set_secret(self, key, value):
        super().set_secret(key, value)
        self.listed = sorted({*self.listed, key})

    def list_secrets(self, prefix=""):
        return self.listed


class LeaksInTheMessage(Right):
    caught_by = "test_no_value_in_a_conflict"

    def set_secret_if(self, key, value, expected_version):
        if expected_version is None and key in self._values:
            raise ConflictError(f"{key} is already {self._values[key]}", key=key, provider="memory")
        return super().set_secret_if(key, value, expected_version)


class LeaksInTheContext(Right):
    """`from None` hides the encoder's error from the traceback, and keeps the value in it all the same."""

    caught_by = "test_no_value_in_a_surrogate_error"

    def set_secret(self, key, value):
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValidationError("no Unicode text", key=key, provider="memory") from None
        super().set_secret(key, value)


class LogsWhatItSets(Right):
    caught_by = "test_no_value_in_logs_warnings_or_output"

    def set_secret(self, key, value):
        super().set_secret(key, value)
        logging.getLogger("acme").debug("set %s to %s", key, value)


class LogsWhatItReads(Right):
    caught_by = "test_no_value_in_logs_warnings_or_output"

    def get_secret(self, key):
        value = super().get_secret(key)
        logging.getLogger("acme").info("read %s", {key: value})
        return value


class PrintsWhatItSets(Right):
    caught_by = "test_no_value_in_logs_warnings_or_output"

    def set_secret(self, key, value):
        super().set_secret(key, value)
        sys.stderr.write(f"set {key} to {value!r}\n")


class WarnsWithTheValue(Right):
    caught_by = "test_no_value_in_logs_warnings_or_output"

    def set_secret(self, key, value):
        super().set_secret(key, value)
        warnings.warn(f"an old way to set {value!r}", DeprecationWarning, stacklevel=2)


class LeaksInTheTypeError(Right):
    caught_by = "test_no_value_in_a_type_error"

    def set_secret(self, key, value):
        if not isinstance(value, str):
            message = f"not a str: {value!r}"
            raise TypeError(message)
        super().set_secret(key, value)


class LeaksInANote(Right):
    caught_by = "test_no_value_in_an_invalid_key_error"

    def set_secret(self, key, value):
        try:
            super().set_secret(key, value)
        except ValueError as error:
            error.add_note(f"while setting {value}")
            raise


class LeaksInItsRepr(Right):
    caught_by = "test_no_value_in_its_repr"

    def __repr__(self):
        return f"<LeaksInItsRepr {self._values}>"


class BatchRaisesForAbsent(Right):
    caught_by = "test_batch_leaves_absent_keys_out"

    def get_secrets(self, keys):
        return {key: self.get_secret(key) for key in keys}


class TrimsInBatches(Right):
    caught_by = "test_batch_reads_each_character"

    def get_secrets(self, keys):
        return {key: value.strip() for key, value in super().get_secrets(keys).items()}


class TrimsWhatABatchWrites(Right):
    caught_by = "test_batch_writes_each_character"

    def set_secrets(self, values):
        super().set_secrets({key: value.rstrip("\n") for key, value in values.items()})


class GivesItsOwnMapping(Right):
    caught_by = "test_a_batchs_answer_is_the_callers"

    def get_secrets(self, keys):
        answer = super().get_secrets(keys)
        return self._values if answer == self._values else answer


class TrimsConditionally(Right):
    caught_by = "test_conditional_write_keeps_each_character"

    def set_secret_if(self, key, value, expected_version):
        return super().set_secret_if(key, value.strip(), expected_version)


class TrimsWhatItStages(Right):
    caught_by = "test_a_staged_value_keeps_each_character"

    def stage_secret(self, key, value):
        return super().stage_secret(key, value.strip())


class BatchGivesNoneForAbsent(Right):
    caught_by = "test_batch_leaves_absent_keys_out"

    def get_secrets(self, keys):
        return {key: self._values.get(check_key(key)) for key in keys}


class BatchReadsOnePage(Right):
    caught_by = "test_batch_longer_than_a_page"

    def get_secrets(self, keys):
        return super().get_secrets(list(keys)[:20])


class BatchGoesTwiceThroughTheKeys(Right):
    caught_by = "test_batch_of_an_iterator"

    def get_secrets(self, keys):
        for key in keys:
            check_key(key)
        return super().get_secrets(keys)


class BatchWritesOneByOne(Right):
    caught_by = "test_batch_with_a_lone_surrogate_writes_nothing"

    def set_secrets(self, values):
        for key, value in values.items():
            self.set_secret(key, value)


class TellsLocalTimes(Right):
    caught_by = "test_describe_tells_times_in_utc"

    def describe_secret(self, key):
        described = super().describe_secret(key)
        object.__setattr__(described, "created_at", described.created_at.replace(tzinfo=None))
        return described


class DescribesOneVersion(Right):
    caught_by = "test_describe_follows_writes"

    def describe_secret(self, key):
        described = super().describe_secret(key)
        object.__setattr__(described, "version", "1")
        return described


class TellsOldestFirst(Right):
    caught_by = "test_versions_newest_first"

    def list_versions(self, key):
        return super().list_versions(key)[::-1]


class GivesTheNewestForAnyVersion(Right):
    caught_by = "test_unknown_version_is_not_found"

    def get_secret_version(self, key, version):
        try:
            return super().get_secret_version(key, version)
        except SecretNotFoundError:
            return self.get_secret(key)


class UsesIdsTwice(Right):
    """Counts the versions that a key has, and so begins again after a delete."""

    caught_by = "test_version_ids_are_not_used_twice"

    def _new_version(self, value):
        version = super()._new_version(value)
        version.id = str(max((len(record.versions) for record in self._records.values()), default=0) + 1)
        return version


class IgnoresExpectations(Right):
    caught_by = "test_conditional_write_creates_only"

    def set_secret_if(self, key, value, expected_version):
        self.set_secret(key, value)
        return self.describe_secret(key).version


class TakesNoneForAnything(Right):
    caught_by = "test_conditional_write_creates_only"

    def set_secret_if(self, key, value, expected_version):
        if expected_version is None and key in self._values:
            expected_version = self.describe_secret(key).version
        return super().set_secret_if(key, value, expected_version)


class LooksBeforeItLeaps(Right):
    """Compares and writes in two steps; the barrier makes the race sure instead of likely."""

    caught_by = "test_race_to_create_has_one_winner"

    def __init__(self):
        super().__init__()
        self.compared = threading.Barrier(8, timeout=300)

    def set_secret_if(self, key, value, expected_version):
        self._expect(key, expected_version)
        self.compared.wait()
        self.set_secret(key, value)
        return self.describe_secret(key).version


class StagesForEverybody(Right):
    caught_by = "test_staging_leaves_the_readers_their_value"

    def stage_secret(self, key, value):
        self.set_secret(key, value)
        return self.describe_secret(key).version


class PromotesBlindly(Right):
    caught_by = "test_promoting_over_another_version"

    def promote_version(self, key, version, *, expected_version):
        super().promote_version(key, version, expected_version=self.describe_secret(key).version)


class KeepsTheDiscarded(Right):
    caught_by = "test_discarding_makes_it_unreadable"

    def discard_version(self, key, version):
        self._pending(key, version)


class DiscardsTheCurrent(Right):
    caught_by = "test_the_current_version_is_not_discarded"

    def discard_version(self, key, version):
        if self.describe_secret(key).version == version:
            self.delete_secret(key)
        else:
            super().discard_version(key, version)


class BelongsToOneThread(Right):
    caught_by = "test_another_thread_uses_the_provider"

    def __init__(self):
        super().__init__()
        self.owner = threading.get_ident()

    def get_secret(self, key):
        if threading.get_ident() != self.owner:
            message = "made in another thread"
            raise RuntimeError(message)
        return super().get_secret(key)


class ClosesOnce(Right):
    caught_by = "test_closing_twice"
    closed = False

    def close(self):
        if self.closed:
            message = "closed already"
            raise RuntimeError(message)
        self.closed = True


class EntersAnother(Right):
    caught_by = "test_it_is_a_context_manager"

    def __enter__(self):
        return MemorySecretProvider()


class HasItsMethodsByGetattr:
    """On Python 3.11 `isinstance` believes it; from 3.12 on it does not."""

    caught_by = "test_capabilities_are_real_methods"
    kit: ClassVar[dict[str, Any]] = {}

    def __init__(self):
        self._inner = MemorySecretProvider()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def get_secret(self, key):
        return self._inner.get_secret(key)

    def set_secret(self, key, value):
        self._inner.set_secret(key, value)

    def delete_secret(self, key):
        self._inner.delete_secret(key)


class RenamesItsArguments(Right):
    caught_by = "test_it_takes_names_of_arguments"

    def get_secret(self, name):
        return super().get_secret(name)


class ImportsItsSdk(Right):
    caught_by = "test_no_sdk_is_loaded_before_the_first_call"
    kit: ClassVar = {"sdk_modules": ("xmlrpc",), "construction": "import xmlrpc.client"}


class ConnectsAtOnce(Right):
    caught_by = "test_the_constructor_does_no_io"
    kit: ClassVar = {"construction": "import sqlite3; sqlite3.connect(':memory:').close()"}


class ForgetsAtClose(Right):
    """Its `reopened` is a provider on nothing."""

    caught_by = "test_secrets_outlive_a_provider"
    kit: ClassVar = {"second_is_another": True}


class TellsWhatWasBefore(Right):
    caught_by = "test_what_was_before_is_not_told"

    def subscribe_changes(self, callback):
        now = datetime.now(UTC)
        callback([SecretChange(key, "set", None, now) for key in self.list_secrets()])
        return super().subscribe_changes(callback)


class TellsLocalTimesOfChanges(Right):
    caught_by = "test_a_write_is_told_with_its_version"

    def subscribe_changes(self, callback):
        here = timezone(timedelta(hours=2))

        def tell(changes):
            callback([replace(one, observed_at=one.observed_at.astimezone(here)) for one in changes])

        return super().subscribe_changes(tell)


class TellsEachTwice(Right):
    """The second time with a version that there is not."""

    caught_by = "test_a_registry_watches_it"

    def subscribe_changes(self, callback):
        def tell(changes):
            callback(changes)
            callback([replace(one, version="another") for one in changes if one.kind == "set"])

        return super().subscribe_changes(tell)


class PromotesNothing(Right):
    caught_by = "test_a_secret_is_rotated_and_rolled_back"

    def promote_version(self, key, version, *, expected_version):
        pass


class AnswersAnotherProcess(Right):
    """What a connection that processes share does."""

    caught_by = "test_children_read_what_they_ask_for"

    def __init__(self):
        super().__init__()
        self._process = os.getpid()

    def get_secret(self, key):
        return super().get_secret(key if os.getpid() == self._process else "fork/0")


WRONG = {
    name: found
    for name, found in list(globals().items())
    if isinstance(found, type) and getattr(found, "caught_by", "")
}
