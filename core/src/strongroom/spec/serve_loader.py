"""From the nodes of the section `serve:` to a plan, with every problem noted."""

from __future__ import annotations

from pydantic import BaseModel

from strongroom.spec.complaints import unknown_key
from strongroom.spec.component_loader import ComponentLoader
from strongroom.spec.document import Node
from strongroom.spec.document import Path as NodePath
from strongroom.spec.options import check_options
from strongroom.spec.plan import ComponentPlan
from strongroom.spec.problems import Problems, entries
from strongroom.spec.serve import SERVE, Client, Serve, Tls, host_and_port, is_loopback, is_open

__all__ = ["serve_plan"]


def serve_plan(problems: Problems, root: Node, components: ComponentLoader) -> ComponentPlan | None:
    """Return the plan of the section, and note all problems with it; None if there is none."""
    node = root.mapping.get("serve")
    if node is None or not isinstance(node.value, dict):
        return None  # anything else is reported with the structure of the spec
    for where, message in check_options(SERVE, node, components.validated):
        if message.startswith("unknown key"):
            problems.add(node.at(where[:-1]), ("serve", *where), _unknown(where), key=str(where[-1]))
        else:
            problems.add(node.at(where), ("serve", *where), message)
    _check_clients(problems, node)
    _check_tls(problems, node)
    return components.plan_of("serve", SERVE, node, ("serve",))


def _unknown(where: NodePath) -> str:
    parts: dict[str, type[BaseModel]] = {"clients": Client, "tls": Tls}
    part = parts.get(str(where[0]), Serve) if len(where) > 1 else Serve
    return unknown_key(str(where[-1]), set(part.model_fields))


def _check_clients(problems: Problems, node: Node) -> None:
    names: set[object] = set()
    for index, client in enumerate(entries(node, "clients")):
        path: NodePath = ("serve", "clients", index)
        if not client.mapping:
            continue  # reported by the model
        members = [
            member
            for member in ("token", "uid")
            if (one := client.mapping.get(member)) and one.value is not None
        ]
        if len(members) != 1:
            problems.add(client, path, "a client has a token or a uid" + (", not both" if members else ""))
        name = client.mapping.get("name")
        if name is not None and isinstance(name.value, str):
            if name.value in names:
                problems.add(name, (*path, "name"), "a second client of this name")
            names.add(name.value)


def _check_tls(problems: Problems, node: Node) -> None:
    listen, tls = node.mapping.get("listen"), node.mapping.get("tls")
    if listen is None or not isinstance(listen.value, str) or is_open(listen.value):
        return
    try:
        host, _ = host_and_port(listen.value)
    except ValueError:
        return
    if not is_loopback(host) and (tls is None or tls.value is None):
        said = "an address that is not loopback needs `tls: {cert: …, key: …}`"
        problems.add(listen, ("serve", "listen"), said)
