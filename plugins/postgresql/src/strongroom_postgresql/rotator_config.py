"""The options of the rotator `postgresql`; importing this needs no psycopg."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["PostgreSQLRotatorConfig"]

_URL = r"^postgres(ql)?://"


class PostgreSQLRotatorConfig(BaseModel):
    """The constructor's parameters of `PostgreSQLRotator`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    url: str = Field(
        pattern=_URL,
        repr=False,
        description="Where an administrator logs in, as libpq writes it: postgresql://admin@host:5432/database.",
    )
    username: str | None = Field(default=None, description="The administrator; by default the URL's.")
    password: str | None = Field(default=None, repr=False, description="Its password; by default the URL's.")
    role: str = Field(min_length=1, max_length=63, description="The role whose password is rotated.")
    role_b: str | None = Field(
        default=None, min_length=1, max_length=63, description="The other one, if two take turns."
    )
    strategy: Literal["single", "alternating"] = Field(
        default="single",
        description="Whether one role gets another password, or two take turns: then nobody's login fails.",
    )
    login: list[str] = Field(
        default=[],
        repr=False,
        description="Where applications log in, such as a pooler: URLs, whose user and password do not "
        "count. A new password must work at each; without any, at `url`.",
    )
    userlist: Path | None = Field(
        default=None,
        description="The `auth_file` of a pgbouncer on this host, in which the password is changed.",
    )
    pgbouncer: str | None = Field(
        default=None,
        pattern=_URL,
        repr=False,
        description="The console of that pgbouncer, its database `pgbouncer`, for the command RELOAD.",
    )
    timeout_seconds: float = Field(default=30, gt=0, le=300, description="Seconds for one login or change.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.strategy == "alternating") != (self.role_b is not None):
            message = "two roles that take turns need `role_b`, and one alone has none"
            raise ValueError(message)
        if self.role == self.role_b:
            message = "role and role_b are the same"
            raise ValueError(message)
        if self.pgbouncer is not None and self.userlist is None:
            message = "`pgbouncer` is for `userlist`"
            raise ValueError(message)
        return self
