"""A real OpenBao whose database engine makes roles on a real PostgreSQL."""

from __future__ import annotations

import sys
from pathlib import Path

# pytest's importlib mode keeps test folders off the path; these helpers have names of their own.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "plugins" / "vault" / "tests"))

from bao_server import BaoServer
from postgres_server import PostgresServer

CREATE = (
    "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "
    'GRANT pg_read_all_data TO "{{name}}";'
)


class LeaseServers:
    """Runs from construction to `stop`; a role `NAME` lives for `ttl` seconds, `most` at most."""

    def __init__(self, folder, storage="inmem"):
        self.postgres = PostgresServer()
        self.bao = BaoServer(folder, storage=storage)
        self.call("POST", "sys/mounts/database", type="database")
        self.database("app", self.postgres.port)

    def database(self, name, port):
        """Let the engine make roles of the PostgreSQL that this port leads to."""
        self.call(
            "POST",
            f"database/config/{name}",
            plugin_name="postgresql-database-plugin",
            allowed_roles="*",
            connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable",
            username="postgres",
            password=self.postgres.password,
        )

    def call(self, method, path, **body):
        return self.bao.client.adapter.request(method, f"/v1/{path}", json=body or None)

    def role(self, name, ttl, most):
        self.call(
            "POST",
            f"database/roles/{name}",
            db_name="app",
            creation_statements=[CREATE],
            default_ttl=f"{ttl}s",
            max_ttl=f"{most}s",
        )

    def roles(self):
        """Return the names of all roles of the engine: the tests make theirs in one server."""
        return self.call("LIST", "database/roles")["data"]["keys"]

    def valkey_role(self, name, port, password):
        """Make a role of a Valkey, whose administrator `default` has this password."""
        self.call(
            "POST",
            "database/config/valkey",
            plugin_name="valkey-database-plugin",
            allowed_roles="*",
            host="127.0.0.1",
            port=port,
            username="default",
            password=password,
        )
        rules = '["+@read", "+ping", "~*"]'
        self.call("POST", f"database/roles/{name}", db_name="valkey", creation_statements=rules)

    def policy(self, name="leases"):
        """Make a policy that issues, renews and revokes leases, and return its name."""
        rules = (
            'path "database/creds/*" { capabilities = ["read"] } path "database/roles" { capabilities = ["list"] } '
            'path "sys/leases/renew" { capabilities = ["update"] } path "sys/leases/revoke" { capabilities = ["update"] }'
        )
        self.call("PUT", f"sys/policies/acl/{name}", policy=rules)
        return name

    def token(self, **more):
        return self.call("POST", "auth/token/create", **more)["auth"]["client_token"]

    def leases(self, role):
        """Return the ids of the leases that the server knows."""
        try:
            return self.call("LIST", f"sys/leases/lookup/database/creds/{role}")["data"]["keys"]
        except Exception as error:
            if type(error).__name__ == "InvalidPath":
                return []
            raise

    def users(self):
        """Return the roles that the engine has made in PostgreSQL."""
        with self.postgres.login("postgres", self.postgres.password) as admin:
            found = admin.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'").fetchall()
        return sorted(name for (name,) in found)

    def stop(self):
        self.bao.stop()
        self.postgres.stop()
