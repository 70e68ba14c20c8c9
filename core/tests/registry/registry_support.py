"""What the tests of a registry share: specs in memory, and hooks that note what they see."""

from __future__ import annotations

from strongroom import SecretHook


def spec(**members):
    return {"version": 1, "pipelines": {"app": {"provider": {"type": "memory"}}}, **members}


class Recorder(SecretHook):
    """Writes down what it sees."""

    def __init__(self, log=None, name="", veto=None, after_error=None):
        self.log = log if log is not None else []
        self.name, self.veto, self.after_error = name, veto, after_error

    def before(self, event):
        self.log.append((self.name, "before", event.operation, event.key, event.outcome))
        if self.veto is not None:
            raise self.veto

    def after(self, event):
        self.log.append((self.name, "after", event.operation, event.key, event.outcome))
        self.last = event
        if self.after_error is not None:
            raise self.after_error
