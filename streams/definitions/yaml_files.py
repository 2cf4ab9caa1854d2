"""YAML 1.2 as people write it, read into what JSON can hold.

PyYAML reads YAML 1.1, where NO is false, 08:30 is a number of minutes, 010 is eight, a date is no
text and `=` is no value. Here only true, false, null and plain numbers are not text. A number that
JSON could not write as it stands (01067, a postcode) stays the text that it is, and so does the
name of a field.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from sinks.charsets import MARKS

TAG = "tag:yaml.org,2002:"
CORE = (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)
"""The core schema of YAML 1.2, and `<<` of 1.1, which files of definitions use."""
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML may have been built without the faster one."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What a plain scalar is, by its first character; an empty one is null."""
    found: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for name, pattern, firsts in CORE:
        whole = re.compile(rf"(?:{pattern})\Z")
        for first in (*firsts, *([""] if name == "null" else [])):
            found.setdefault(first, []).append((TAG + name, whole))
    return found


class CoreLoader(FastLoader):
    """Reads YAML 1.2's core schema."""

    yaml_implicit_resolvers = _resolvers()
    yaml_constructors = yaml.SafeLoader.yaml_constructors | {
        TAG + name: yaml.SafeLoader.construct_yaml_str for name in ("timestamp", "binary", "value")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose names are texts, as they were written."""
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    key.tag = TAG + "str"
        return super().construct_mapping(node, deep=deep)


def _both(*kinds: Any) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What a plain scalar is to any of these."""
    firsts = {first: None for kind in kinds for first in kind.yaml_implicit_resolvers}
    return {
        first: [one for kind in kinds for one in kind.yaml_implicit_resolvers.get(first, [])]
        for first in firsts
    }


class CoreDumper(yaml.SafeDumper):
    """Writes YAML that is the same in 1.1 and in 1.2."""

    yaml_implicit_resolvers = _both(yaml.SafeDumper, CoreLoader)


def load(text: str) -> Any:
    """The value of a document. Raises yaml.YAMLError, ValueError or RecursionError."""
    return yaml.load(text, Loader=CoreLoader)


def compose(text: str) -> yaml.Node | None:
    """The nodes of a document, with their lines. Raises as `load` does."""
    return yaml.compose(text, Loader=CoreLoader)


def dump(value: Any, **options: Any) -> str:
    """A value as YAML."""
    return yaml.dump(value, Dumper=CoreDumper, **options)


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or what its byte-order mark says. Raises UnicodeDecodeError."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode("utf-8")


def read_text(path: Path) -> str:
    """The text of a file. Raises OSError or UnicodeDecodeError."""
    return decoded(path.read_bytes())
