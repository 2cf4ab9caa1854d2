"""Is a breaking change of an event found, said in a sentence, and refused?"""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import fastavro
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import Field, create_model

from schemas.catalogue import event_classes
from schemas.events.agent.runs import RunSettled, ToolReturned
from schemas.events.base import Event
from schemas.wire.avro_schema import FOLDER, schema_of, stale, text_of_schema, write
from schemas.wire.compatibility import PRODUCERS_FIRST, READERS_FIRST, breaks, unreadable

ROOT = Path(__file__).parents[3]
CLASSES = event_classes()


def record(**fields):
    """A schema; a field is a type, or a type and its default."""
    made = [
        {"name": n, "type": t[0], "default": t[1]}
        if isinstance(t, tuple)
        else {"name": n, "type": t}
        for n, t in fields.items()
    ]
    return {"type": "record", "name": "Made", "namespace": "weir.test", "fields": made}


MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
ID = {"type": "string", "logicalType": "uuid"}
INNER, NULL_INNER = (
    record(x="long") | {"name": "Inner"},
    ["null", record(x="long") | {"name": "Inner"}],
)


def money(scale):
    return {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": scale}


@pytest.mark.parametrize("old, new, says", [
    (record(a="long"), record(a="long"), []),
    (record(a="long"), record(a="long", b=("string", "")), []),
    (record(a="long", b=("string", "")), record(a="long"), []),
    (record(a="long"), record(a="long", b="string"), [
        f"Made.b is not written, and its reader has no default for it: {PRODUCERS_FIRST}"]),
    (record(a="long", b="string"), record(a="long"), [
        f"Made.b is not written, and its reader has no default for it: {READERS_FIRST}"]),
    (record(a="long"), record(b="long"), [
        f"Made.b is not written, and its reader has no default for it: {PRODUCERS_FIRST}",
        f"Made.a is not written, and its reader has no default for it: {READERS_FIRST}"]),
    (record(a="long"), record(a="double"), ["Made.a is written as double and read as long: "
                                            f"{READERS_FIRST}"]),
    (record(a="string"), record(a="long"), [
        f"Made.a is written as string and read as long: {PRODUCERS_FIRST}",
        f"Made.a is written as long and read as string: {READERS_FIRST}"]),
    (record(a="string"), record(a="bytes"), []),
    (record(a="string"), record(a=["null", "string"]), [
        f"Made.a may be null, which its reader does not expect: {READERS_FIRST}"]),
    (record(a=ID), record(a="string"), []),
    (record(a=MILLIS), record(a=MICROS), [
        "Made.a is written as long timestamp-millis and read as long timestamp-micros: "
        f"{PRODUCERS_FIRST}",
        "Made.a is written as long timestamp-micros and read as long timestamp-millis: "
        f"{READERS_FIRST}"]),
    (record(a=money(12)), record(a=money(9)), [
        "Made.a is written as bytes decimal 12 38 and read as bytes decimal 9 38: "
        f"{PRODUCERS_FIRST}",
        f"Made.a is written as bytes decimal 9 38 and read as bytes decimal 12 38: {READERS_FIRST}"]),
    (record(a={"type": "array", "items": "long"}), record(a={"type": "array", "items": "string"}), [
        f"Made.a[] is written as long and read as string: {PRODUCERS_FIRST}",
        f"Made.a[] is written as string and read as long: {READERS_FIRST}"]),
    (record(a=INNER, b="weir.test.Inner"), record(a=INNER, b=INNER), []),
    (record(a=NULL_INNER), record(a=["null", INNER | {"fields": []}]), [
        f"Made.a.x is not written, and its reader has no default for it: {READERS_FIRST}"]),
    (record(a=INNER), record(a=INNER | {"name": "Other"}), [
        f"Made.a is written as Inner and read as Other: {PRODUCERS_FIRST}",
        f"Made.a is written as Other and read as Inner: {READERS_FIRST}"]),
])  # fmt: skip
def test_breaks(old, new, says):
    assert breaks(old, new) == says


VALUES = {"long": 7, "double": 1.5, "string": "ok", "bytes": b"ok", "boolean": True, "null": None}
DEFAULTS = {"long": 0, "double": 0.5, "string": "", "bytes": "", "boolean": False}
TYPES = st.sampled_from([*DEFAULTS, ["null", "string"], ["null", "long"]])


@st.composite
def records(draw):
    def field(name):
        kind = draw(TYPES)
        default = None if isinstance(kind, list) else DEFAULTS[kind]
        return (kind, default) if draw(st.booleans()) else kind

    return record(
        **{name: field(name) for name in draw(st.sets(st.sampled_from("abcd"), max_size=3))}
    )


@given(records(), records(), st.data())
def test_what_is_called_readable_fastavro_reads(writer, reader, data):
    assume(not unreadable(writer, reader))
    values = {
        field["name"]: VALUES[
            data.draw(st.sampled_from(field["type"]))
            if isinstance(field["type"], list)
            else field["type"]
        ]
        for field in writer["fields"]
    }
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(writer), values)
    out.seek(0)
    read = fastavro.schemaless_reader(
        out, fastavro.parse_schema(writer), fastavro.parse_schema(reader)
    )
    assert read.keys() == {field["name"] for field in reader["fields"]}


def test_the_checked_in_schemas_are_those_of_the_classes():
    assert {path.name: text and "differs" for path, text in stale().items()} == {}, (
        "run python -m schemas.wire.avro_schema --write and commit what it changed"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.avsc")), ids=lambda path: path.stem)
def test_no_default_is_an_empty_object_as_text(path):
    """The registry takes a schema with the default "{}" of a string for something else than Avro."""
    assert '"default": "{}"' not in path.read_text()


def test_writing_mends_what_differs(tmp_path):
    write(tmp_path)
    (tmp_path / "RunSettled.avsc").write_text("{}")
    (tmp_path / "Orphan.avsc").write_text("{}")
    (tmp_path / "RunFinished.avsc").unlink()
    assert {path.name for path in stale(tmp_path)} == {
        "RunSettled.avsc",
        "Orphan.avsc",
        "RunFinished.avsc",
    }
    write(tmp_path)
    assert not stale(tmp_path) and (tmp_path / "RunSettled.avsc").read_text() == text_of_schema(
        RunSettled
    )


def versions(path: Path, most: int = 2) -> list[dict]:
    """The last versions of a schema's file that were committed, newest first."""

    def git(*argv):
        return subprocess.run(
            ["git", *argv], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout

    place = path.relative_to(ROOT).as_posix()
    commits = git("log", f"-{most}", "--diff-filter=AM", "--format=%H", "--", place).split()
    return [json.loads(git("show", f"{commit}:{place}")) for commit in commits]


@pytest.mark.skipif(
    not (ROOT / ".git").exists() or shutil.which("git") is None,
    reason="no git repository, or no git: there is nothing to compare with",
)
@pytest.mark.parametrize("name", CLASSES)
def test_no_class_breaks_what_was_committed(name):
    for committed in versions(FOLDER / f"{name}.avsc"):
        assert breaks(committed, schema_of(CLASSES[name])) == [], (
            "a breaking change is a new event class"
        )


def changed(kind: type[Event], **fields) -> dict:
    """The schema that the class would have with these fields changed."""
    made = create_model(kind.__name__, __base__=kind, **fields)
    made.family = ""  # so that it is no event of Weir's
    return schema_of(made) | {"namespace": f"weir.{kind.family}"}


@pytest.mark.parametrize(
    "fields, says",
    [
        (
            {"ward": (str, ...)},
            [
                "ToolReturned.ward is not written, and its reader has no default for it: "
                f"{PRODUCERS_FIRST}"
            ],
        ),
        (
            {"content": (str | None, None)},
            [
                "ToolReturned.content may be null, which its reader does not expect: "
                f"{READERS_FIRST}"
            ],
        ),
        (
            {"wait_ms": (float, 0.0)},
            [f"ToolReturned.wait_ms is written as double and read as long: {READERS_FIRST}"],
        ),
        (
            {"started_at": (str, ...)},
            [
                "ToolReturned.started_at is written as long timestamp-millis and read as string: "
                f"{PRODUCERS_FIRST}",
                "ToolReturned.started_at is written as string and read as long timestamp-millis: "
                f"{READERS_FIRST}",
            ],
        ),
        ({"step": (Annotated[int, Field(ge=0)], ...)}, []),
        ({"note": (str, "")}, []),
    ],
)
def test_a_breaking_change_of_a_class_is_found(fields, says):
    assert breaks(schema_of(ToolReturned), changed(ToolReturned, **fields)) == says


def test_a_removed_field_is_found():
    schema = schema_of(ToolReturned)
    less = schema | {"fields": [field for field in schema["fields"] if field["name"] != "content"]}
    assert breaks(schema, less) == [
        "ToolReturned.content is not written, and its reader has no default for it: "
        f"{READERS_FIRST}"
    ]
