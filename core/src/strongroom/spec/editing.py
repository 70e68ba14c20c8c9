"""Writing to the text of a spec: a text in quotes, and one more declaration, beside which all stays."""

from __future__ import annotations

import codecs
import json
from typing import Any

import yaml

from strongroom.errors import ConfigurationError
from strongroom.spec.document import read_document

__all__ = ["quoted", "with_declaration"]

_INDENT = 2


def quoted(text: str) -> str:
    """Return `text` in double quotes, as YAML reads it back exactly.

    That is JSON's way, save for what YAML has no place for, or takes for a line end, and for JSON's pairs.
    """
    return "".join(
        one if one.isprintable() else f"\\u{ord(one):04x}" if one <= "\uffff" else f"\\U{ord(one):08x}"
        for one in json.dumps(text, ensure_ascii=False)
    )


def with_declaration(data: bytes, name: str, key: str) -> bytes:
    """Return the spec `data` with the secret `name`, stored at `key`, as its last declaration.

    Raises:
        ConfigurationError: The layout of the text is one to which this cannot add.
    """
    mark = codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""
    text = data.removeprefix(mark).decode()
    entry = f"{name}: {{key: {key}}}"
    changed = mark + _with_entry(text, entry).encode()
    before, after = read_document(data).root, read_document(changed).root
    if before is not None and after is not None:
        wanted = before.data()
        wanted["secrets"] = {**(wanted.get("secrets") or {}), name: {"key": key}}
        if after.data() == wanted and list(after.data()["secrets"]) == list(wanted["secrets"]):
            return changed
    raise ConfigurationError(
        f"{name} cannot be added to the spec as it is written",
        hint=f"add it yourself under `secrets:`: {entry}",
    )


def _with_entry(text: str, entry: str) -> str:
    """Return `text` with `entry` where its layout has room for one more secret."""
    # The nodes of `strongroom.spec.document` do not know where they end.
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    members = {} if not isinstance(root, yaml.MappingNode) or root.flow_style else _members(root)
    line_end = "\r\n" if "\r\n" in text else "\n"
    if "secrets" not in members:
        gap = "" if not text or text.endswith("\n") else line_end
        return f"{text}{gap}{line_end}secrets:{line_end}{' ' * _INDENT}{entry}{line_end}"
    name, secrets = members["secrets"]
    if not isinstance(secrets, yaml.MappingNode):  # `secrets:` with nothing behind it
        return _after_line(
            text, name.end_mark.index, " " * (name.start_mark.column + _INDENT) + entry, line_end
        )
    if secrets.flow_style:
        end = secrets.end_mark.index - 1
        inside = text[secrets.start_mark.index + 1 : end].rstrip()
        comma = ", " if inside and not inside.endswith(",") else " " if inside else ""
        return f"{text[: secrets.start_mark.index + 1]}{inside}{comma}{entry}{text[end:]}"
    first, last = secrets.value[0][0], secrets.value[-1][1]
    return _after_line(text, _end(last), " " * first.start_mark.column + entry, line_end)


def _members(node: Any) -> dict[str, tuple[Any, Any]]:
    return {key.value: (key, value) for key, value in node.value}


def _end(node: Any) -> int:
    """Return the index of the last character of a node; PyYAML ends a block where the next one begins."""
    while not isinstance(node, yaml.ScalarNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return max(int(node.start_mark.index), int(node.end_mark.index) - 1)


def _after_line(text: str, index: int, line: str, line_end: str) -> str:
    """Return `text` with `line` after the one that has the character at `index`."""
    end = text.find("\n", index)
    if end < 0:
        return f"{text}{line_end}{line}{line_end}"
    return f"{text[: end + 1]}{line}{line_end}{text[end + 1 :]}"
