"""The rotator `redis`: the password of an ACL user; the old one stays valid until it is removed.

Passwords go to the server as their SHA-256 alone, save in the login of `verify`. `ACL LOAD` is not used:
Redis cuts every user's connections for it, even if nothing has changed.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from strongroom.deadlines import Deadline, DeadlineExceededError, DeadlineExecutor
from strongroom.errors import ConfigurationError, PermissionDeniedError, RotationError
from strongroom.rotation import UserRotator, credentials

from strongroom_redis.connection import Options, check, connect, disconnect, load
from strongroom_redis.errors import translate

__all__ = ["RedisRotator"]

_NO_FILE: Final = ("not configured to use an ACL file", "without a config file")


class RedisRotator(UserRotator):
    """Changes the password of an ACL user of Redis 6 or Valkey, and tries it by a login.

    Nothing is kept open between two calls. The secret is the password alone, or a JSON object with `username`
    and `password`. Connections that are open go on; only new ones need the new password, once the old one is
    taken away. What is changed is saved: by `ACL SAVE`, else by `CONFIG REWRITE`, else there is a warning.
    There is a warning too if a server has more replicas than `others` names, since it does not pass users on.

    Args:
        url: Where an administrator logs in: a user who may `ACL`, `CONFIG REWRITE`.
        user: The user.
        username: The administrator; by default the URL's.
        password: Its password; by default the URL's. If it is the very secret that is rotated, the old and
            the new one are tried too.
        others: Further servers with users of their own: replicas, and the nodes of a cluster.
        ca_file: The CA of the servers' certificates, PEM.
        cert_file: The client's certificate, PEM.
        key_file: Its private key, PEM.
        timeout_seconds: How long one command may take.

    Raises:
        ConfigurationError: An option is not what it has to be.
    """

    def __init__(
        self,
        url: str,
        user: str,
        *,
        username: str | None = None,
        password: str | None = None,
        others: Iterable[str] = (),
        ca_file: os.PathLike[str] | None = None,
        cert_file: os.PathLike[str] | None = None,
        key_file: os.PathLike[str] | None = None,
        timeout_seconds: float = 10,
    ) -> None:
        super().__init__("redis", [user], option="user")
        self._runner = DeadlineExecutor()
        files: Any = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
        first = Options(url, username, password, **files, timeout=timeout_seconds, retries=0)
        name, _, word = first.userinfo().partition(":")
        first = replace(first, username=username or name or None, password=password or word or None)
        # The administrator is the same, whatever other URLs say.
        self._servers = [first, *(replace(first, url=one) for one in others)]
        for one in self._servers:
            check(one)
            if "+" in one.url.partition("://")[0]:
                raise ConfigurationError(
                    "rotator redis: each server has users of its own, so each is named",
                    hint="give the primary as `url`, the replicas or other nodes as `others`",
                )

    def __repr__(self) -> str:
        return f"<RedisRotator of {self._user} at {', '.join(one.address() for one in self._servers)}>"

    # --- the steps ---

    def apply(self, key: str, old: str, new: str) -> None:
        """Add the new password to those of the user; a second call changes nothing.

        Raises:
            RotationError: A server refuses it, or has no such user.
        """
        _, password = self.login_of(key, new)
        for server in self._servers:
            with self._administrator(server, key, old, new) as client:
                found = self._passwords(client, server)
                if _digest(password) not in found:
                    self._set(client, server, self._user, f"#{_digest(password)}")
                self._save(client, server)
                self._count_replicas(client, server)

    def verify(self, key: str, new: str) -> None:
        """Log in by the new password, at each server.

        Raises:
            StrongroomError: One of them does not take it.
        """
        user, password = self.login_of(key, new)
        for server in self._servers:
            own = replace(server, username=user, password=password)
            with self._connected(own) as client, suppress(PermissionDeniedError):  # it is logged in by then
                self._ask(client, own, f"logging in as {user}", "PING")

    def retire(self, key: str, stale: str, current: str) -> None:
        """Remove the password of `stale`, if the user has that of `current`.

        Raises:
            RotationError: A server refuses it, or the user would have no password that readers get.
        """
        gone, stays = (_digest(credentials(key, one).password) for one in (stale, current))
        for server in self._servers:
            with self._administrator(server, key, current, stale) as client:
                found = self._passwords(client, server)
                if gone in found and gone != stays:
                    if stays not in found:
                        raise RotationError(
                            f"redis: {self._user} at {server.address()} does not have the password that "
                            "readers get: the previous one is kept",
                            hint="see `ACL GETUSER`; `rotate` again gives it one",
                        )
                    self._set(client, server, self._user, f"!{gone}")
                self._save(client, server)

    def prepare_rehearsal(self, key: str, old: str) -> None:
        """Raise if a server does not have the user, and remove the users of killed rehearsals.

        Raises:
            RotationError: The user's password does not decide whether it may log in.
        """
        for server in self._servers:
            with self._administrator(server, key, old) as client:
                self._passwords(client, server)
                self._sweep(client, server)
                self._count_replicas(client, server)

    def make_throwaway(self, key: str, old: str, names: dict[str, str], password: str) -> None:
        """Make users without any right, at each server.

        Raises:
            StrongroomError: A server refuses it.
        """
        for server in self._servers:
            with self._administrator(server, key, old) as client:
                for name in names:
                    self._set(client, server, name, "reset", "on", f"#{_digest(password)}")

    def remove_throwaway(self, key: str, old: str, names: Sequence[str]) -> None:
        """Remove those users, and save that.

        Raises:
            StrongroomError: A server refuses it.
        """
        for server in self._servers:
            with self._administrator(server, key, old) as client:
                self._ask(client, server, "removing a throwaway user", "ACL DELUSER", *names)
                self._save(client, server)

    @property
    def _user(self) -> str:
        return self.users[0]

    # --- servers ---

    @contextmanager
    def _administrator(self, server: Options, key: str, *values: str) -> Iterator[Any]:
        """Log in as the administrator; if its own password is being rotated, with the one that works now."""

        def logged_in(password: str | None) -> Any:
            own = replace(server, password=password)
            load(own)
            client = connect(own)
            try:
                self._ask(client, own, "logging in as the administrator", "ACL WHOAMI")
            except BaseException:
                disconnect(client)
                raise
            return client

        client = self.as_administrator(logged_in, server.username or "default", server.password, key, values)
        try:
            yield client
        finally:
            disconnect(client)

    @contextmanager
    def _connected(self, server: Options) -> Iterator[Any]:
        load(server)
        client = connect(server)
        try:
            yield client
        finally:
            disconnect(client)

    def _passwords(self, client: Any, server: Options) -> list[str]:
        """Return the digests of the passwords that the user has.

        Raises:
            RotationError: There is no such user, or its password does not decide whether it may log in.
        """
        where = f"{self._user!r} at {server.address()}"
        account = self._ask(client, server, f"looking at {where}", "ACL GETUSER", self._user)
        if account is None:
            raise RotationError(f"redis: there is no user {where}", hint=f"ACL SETUSER {self._user} on …")
        flags = {_text(one) for one in account["flags"]}
        if "nopass" in flags:
            raise RotationError(
                f"redis: {where} is `nopass`: it takes any password",
                hint=f"ACL SETUSER {self._user} resetpass",
            )
        if "off" in flags:
            raise RotationError(f"redis: {where} is `off`: it cannot log in with any password")
        return [_text(one) for one in account["passwords"]]

    def _set(self, client: Any, server: Options, user: str, *rules: str) -> None:
        doing = f"changing {user!r} at {server.address()}"
        self._ask(client, server, doing, "ACL SETUSER", user, *rules)

    def _save(self, client: Any, server: Options) -> None:
        """Save the users to the file that the server reads at its start; warn if there is none."""
        import redis

        reasons = []
        when = ""
        for command in ("ACL SAVE", "CONFIG REWRITE"):
            try:
                self._sent(client, server, command)
            except redis.ResponseError as error:
                said = str(error)
                if "NOPERM" in said or isinstance(error, redis.exceptions.NoPermissionError):
                    reasons.append(f"the administrator may not {command}")
                elif not any(one in said for one in _NO_FILE):
                    reasons.append(f"{command} failed")
                    break
            except (redis.RedisError, OSError):
                reasons.append(f"{command} failed")
                break
            else:
                if not reasons:
                    return
                when = " if it has an ACL file"  # then users are not part of what was written
        why = " and ".join(reasons) or "it has no file to save them to"
        warnings.warn(
            f"redis: a restart of {server.address()} forgets the passwords of {self._user!r}{when}: {why}",
            stacklevel=2,
        )

    def _count_replicas(self, client: Any, server: Options) -> None:
        """Warn if the server has more replicas than there are further servers to change."""
        import redis

        try:
            count = int(self._sent(client, server, "INFO", "replication")["connected_slaves"])
        except (redis.RedisError, OSError, LookupError, TypeError, ValueError):
            return  # the administrator may not ask, or the answer is of another form
        if count <= (named := len(self._servers) - 1):
            return
        warnings.warn(
            f"redis: {server.address()} has more replicas ({count}) than `others` names servers ({named}): "
            f"a replica keeps its own passwords of {self._user!r}, and these work after a failover; "
            "name each replica in `others`",
            stacklevel=2,
        )

    def _sweep(self, client: Any, server: Options) -> None:
        """Remove the users of killed rehearsals."""
        for name in map(
            _text, self._ask(client, server, "looking for what rehearsals have left", "ACL USERS")
        ):
            if self.is_left_over(name):
                self._ask(client, server, "removing a throwaway user", "ACL DELUSER", name)

    def _ask(self, client: Any, server: Options, doing: str, *words: str) -> Any:
        try:
            return self._sent(client, server, *words)
        except Exception as error:  # noqa: BLE001  # redis-py's, the socket's, and what a bad answer makes of it
            failure = translate(error, doing, server.address())
        failure.__context__ = None
        raise failure

    def _sent(self, client: Any, server: Options, *words: str) -> Any:
        """Return the answer to a command; raise redis-py's error, also if there is none in time.

        The timeout of a socket is for each read of it: an answer that trickles in could take for ever.
        """
        try:
            return self._runner.run(lambda: client.execute_command(*words), Deadline(server.timeout))
        except DeadlineExceededError:
            disconnect(client)  # which ends the call
        import redis

        raise redis.TimeoutError


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _text(word: bytes | str) -> str:
    return word.decode() if isinstance(word, bytes) else word
