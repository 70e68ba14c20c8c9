"""The options of the rotator `mariadb`; importing this needs no client of MariaDB."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["MariaDBRotatorConfig"]

_URL = r"^(mariadb|mysql)://"
_ACCOUNT = "a name, which means that user's accounts for all hosts, or `name@host`"


class MariaDBRotatorConfig(BaseModel):
    """The constructor's parameters of `MariaDBRotator`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    url: str = Field(
        pattern=_URL,
        repr=False,
        description="Where an administrator logs in: mariadb://admin@host:3306/database, or "
        "mariadb://root@localhost/?unix_socket=/run/mysqld/mysqld.sock.",
    )
    username: str | None = Field(default=None, description="The administrator; by default the URL's.")
    password: str | None = Field(default=None, repr=False, description="Its password; by default the URL's.")
    role: str = Field(min_length=1, description=f"The user whose password is rotated: {_ACCOUNT}.")
    role_b: str | None = Field(default=None, min_length=1, description="The other one, if two take turns.")
    strategy: Literal["single", "alternating"] = Field(
        default="single",
        description="Whether one user gets another password, or two take turns: then nobody's login fails.",
    )
    login: list[Annotated[str, Field(pattern=_URL)]] = Field(
        default=[],
        repr=False,
        description="Where applications log in, such as a proxy: URLs, whose user and password do not count. "
        "A new password must work at each; without any, at `url`.",
    )
    ca_file: Path | None = Field(
        default=None, description="The CA of the server's certificate, PEM; with it TLS is required."
    )
    cert_file: Path | None = Field(default=None, description="The client's certificate, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    timeout_seconds: float = Field(default=30, gt=0, le=300, description="Seconds for one login or change.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.strategy == "alternating") != (self.role_b is not None):
            message = "two roles that take turns need `role_b`, and one alone has none"
            raise ValueError(message)
        if self.role_b is not None and self.role.partition("@")[0] == self.role_b.partition("@")[0]:
            message = "role and role_b are the same user"
            raise ValueError(message)
        return self
