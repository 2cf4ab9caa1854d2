"""Imports point one way, processors are pure, and only the configuration reads the environment."""

import ast
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import (
    ROOT,
    called_in,
    imports_of,
    name_of,
    python_files,
    tree_of,
)

STDLIB_PURE = set(
    [
        "base64",
        "bisect",
        "collections",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "uuid",
        "zlib",
    ]
)
PURE_LIBRARIES = {"cel", "genai_prices", "jinja2", "jsonschema", "orjson", "stdnum"}
SINK_LIBRARIES = set(
    [
        "aiohttp",
        "clickhouse_connect",
        "fastavro",
        "fsspec",
        "httpx",
        "httpx2",
        "httpx_aiohttp",
        "lz4",
        "mcp",
        "numpy",
        "onnxruntime",
        "opentelemetry",
        "orjson",
        "pydantic",
        "qdrant_client",
        "standardwebhooks",
        "tokenizers",
    ]
) | {"qdrant_edge"}  # its BM25 is a function of a text, and the server's own
MAY_IMPORT = {
    "schemas": sys.stdlib_module_names | {"schemas", "pydantic", "pydantic_core", "fastavro"},
    "processors": STDLIB_PURE | PURE_LIBRARIES | {"schemas", "processors"},
    "sinks": sys.stdlib_module_names | SINK_LIBRARIES | {"schemas", "sinks"},
}
IMPURE = set(
    [
        "getenv",
        "monotonic",
        "now",
        "open",
        "print",
        "random",
        "time",
        "today",
        "utcnow",
        "uuid1",
        "uuid4",
    ]
)
LAYERS = (
    {"config"},
    {"engine"},
    {"topology"},
    {"ports"},
    {"gateway", "live"},
    {"definitions", "app"},
    {"operations", "docs"},
    {"lab"},
    {"console"},
    {"http_app", "worker"},
    {"cli"},
)
"""`streams` from below to above: a package imports its own layer and those before it."""


@pytest.mark.parametrize("path", python_files(*MAY_IMPORT), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert roots <= MAY_IMPORT[path.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("path", python_files("processors"), ids=name_of)
def test_processors_are_pure(path: Path) -> None:
    assert not called_in(path) & IMPURE


def test_infra_does_not_know_the_pipeline() -> None:
    for path in python_files("infra"):
        roots = {name.split(".")[0] for name in imports_of(path)}
        assert not roots & {"streams", "processors", "sinks"}, path


def test_only_the_configuration_reads_the_environment() -> None:
    readers = {
        name_of(path)
        for path in python_files("schemas", "processors", "sinks", "streams")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
    }
    assert readers == {"streams/config.py"}


def layer_of(package: str) -> int:
    return next(place for place, packages in enumerate(LAYERS) if package in packages)


def upward_imports() -> set[str]:
    """`streams/…/file.py -> package` for every import of a higher layer of `streams`."""
    found: set[str] = set()
    for path in python_files("streams"):
        own = path.relative_to(ROOT).with_suffix("").parts[1]
        imported = {name.split(".")[1] for name in imports_of(path) if name.startswith("streams.")}
        imported -= {"__version__"}
        higher = {package for package in imported if layer_of(package) > layer_of(own)}
        found |= {f"{name_of(path)} -> {package}" for package in higher}
    return found


def test_streams_imports_downward_only() -> None:
    assert upward_imports() <= KNOWN_UPWARD


KNOWN_UPWARD: set[str] = {
    "streams/console/actions.py -> cli",
    "streams/gateway/__init__.py -> http_app",
    "streams/lab/bench_stack/otlp_process.py -> http_app",
}
"""To be emptied: imports of a higher layer that still stand."""
