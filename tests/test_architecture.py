"""Does the code keep to the layout: import directions, purity of processors, lengths, one topic a
class?
"""

import ast
import sys
from pathlib import Path

import pytest

from schemas.events.base import event_classes
from schemas.wire.topics import topics
from streams.engine.shapes import Call, Fold, Window, kinds
from streams.topology import FROM_SERVICES, HINTS, PIPELINE, SINKS, inputs, stages

ROOT = Path(__file__).parents[1]
FOLDERS = ("schemas", "processors", "sinks", "streams", "infra", "tests")
SOURCES = sorted(
    path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path.stat().st_size
)
STDLIB_PURE = {
    "bisect",
    "base64",
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
    "uuid",
    "unicodedata",
    "zlib",
}
PURE_LIBRARIES = {"cel", "genai_prices", "jinja2", "jsonschema", "orjson", "stdnum"}
MAY_IMPORT = {
    "schemas": sys.stdlib_module_names | {"schemas", "pydantic", "pydantic_core", "fastavro"},
    "processors": STDLIB_PURE | PURE_LIBRARIES | {"schemas", "processors"},
    "sinks": sys.stdlib_module_names
    | {
        "schemas",
        "sinks",
        "pydantic",
        "httpx",
        "httpx_aiohttp",
        "aiohttp",
        "clickhouse_connect",
        "qdrant_client",
        "fastavro",
        "lz4",
        "standardwebhooks",
        "numpy",
        "onnxruntime",
        "tokenizers",
        "orjson",
        "mcp",
        "httpx2",
        "opentelemetry",
        "fsspec",
        "qdrant_edge",  # its BM25 is a function of a text, and the server's own
    },
}
IMPURE = {
    "now",
    "today",
    "utcnow",
    "uuid1",
    "uuid4",
    "open",
    "print",
    "getenv",
    "time",
    "monotonic",
    "random",
}


def imported(tree: ast.AST) -> set[str]:
    found = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in found}


def called(tree: ast.AST) -> set[str]:
    return {
        ast.unparse(node.func).split(".")[-1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_readable_in_one_sitting(path):
    text = path.read_text()
    assert text.count("\n") <= 300, "split it: one question a file"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "its first sentence is the question that it answers"
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= 60
    ]
    assert not long


@pytest.mark.parametrize(
    "path",
    [p for p in SOURCES if p.relative_to(ROOT).parts[0] in MAY_IMPORT],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_imports_point_one_way(path):
    folder = path.relative_to(ROOT).parts[0]
    assert imported(ast.parse(path.read_text())) <= MAY_IMPORT[folder]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "processors").glob("*.py")), ids=lambda path: path.stem
)
def test_processors_are_pure(path):
    assert not called(ast.parse(path.read_text())) & IMPURE


def test_infra_knows_nothing_of_the_pipeline():
    for path in (ROOT / "infra").rglob("*.py"):
        assert not imported(ast.parse(path.read_text())) & {"streams", "processors", "sinks"}, path


def test_only_config_reads_the_environment():
    readers = [
        path
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] in ("schemas", "processors", "sinks", "streams")
        and any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert [path.relative_to(ROOT).as_posix() for path in readers] == ["streams/config.py"]


def test_a_class_has_one_topic_and_the_other_way_round():
    names = [kind.topic() for kind in event_classes().values()]
    assert len(names) == len(set(names)) == len(topics())


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_state_has_the_key_of_what_it_reads(step):
    if isinstance(step.by, Fold | Window):
        assert len({kind.key for kind in kinds(step.reads)}) == 1


def test_what_a_stage_hears_comes_from_inside_or_from_outside_never_both():
    for steps in stages().values():
        inside = {kind for step in steps for kind in kinds(step.writes)} & {
            kind for step in steps for kind in kinds(step.reads)
        }
        outside = {kind for step in PIPELINE if step not in steps for kind in kinds(step.writes)}
        assert not inside & (outside | {*kinds(FROM_SERVICES)})
        assert not set(inputs(steps)) & inside


def test_what_no_step_writes_comes_from_other_services():
    wrote = {kind for step in PIPELINE for kind in kinds(step.writes)}
    assert {kind for steps in stages().values() for kind in inputs(steps) if kind not in wrote} <= {
        *kinds(FROM_SERVICES)
    }


def test_nothing_is_said_in_vain():
    heard = {kind for step in PIPELINE for kind in kinds(step.reads)} | {
        k for s in SINKS.values() for k in kinds(s)
    }
    for step in PIPELINE:
        for kind in kinds(step.writes):
            assert kind in heard, f"{step.name} writes {kind.__name__}, which nobody reads"


def test_every_class_is_somewhere_in_the_picture():
    used = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
    used |= {kind for sink in SINKS.values() for kind in kinds(sink)}
    used |= {*HINTS.values()}
    assert {kind.__name__ for kind in event_classes().values() if kind not in used} == {
        "DefinitionApplied"
    }


def test_calls_keep_their_key():
    for step in PIPELINE:
        if isinstance(step.by, Call):
            assert len({kind.key for kind in (*kinds(step.reads), *kinds(step.writes))}) == 1
