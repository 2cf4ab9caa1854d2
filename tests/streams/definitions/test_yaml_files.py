"""Files that people write are read as YAML 1.2, wherever YAML is read."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from processors.common.json_schema import read_arguments, schema_error
from streams.definitions import folder, yaml_files

CUSTOMS = """openapi: 3.0.3
info: {title: Customs, version: 1.10}
servers: [{url: https://customs.example.test}]
paths:
  /rates:
    get:
      operationId: rate
      summary: Duty of a country
      parameters:
        - {name: country, in: query, required: true, schema: {type: string, enum: [SE, NO, DK]}}
        - {name: insured, in: query, schema: {type: string, enum: [yes, no, on, off]}}
        - {name: since, in: query, schema: {type: string, format: date, default: 2026-05-01}}
        - {name: opens, in: query, schema: {type: string, enum: [08:30, 12:45, 10:30:15]}}
        - {name: postcode, in: query, schema: {type: string, enum: [01067, 010, 1_000]}}
        - {name: sign, in: query, schema: {type: string, enum: [=, <, y, n]}}
        - {name: on, in: query, schema: {type: boolean}}
"""
INLINE = """url: http://tools/look
effect: pure
description: Looks.
parameters:
  type: object
  required: [no]
  properties:
    no: {type: string, enum: [SE, NO, DK]}
    off: {type: string, default: 2026-05-01}
    2026: {type: integer}
"""


def load(tmp_path, text, spec=None):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "rate.yaml").write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )
    if spec is not None:
        content = spec if isinstance(spec, bytes) else spec.encode()
        (tmp_path / "customs.openapi.yaml").write_bytes(content)
    [tool] = folder.load(tmp_path, 1).definitions
    return tool


FROM_SPEC = "via: openapi\nspec: ../customs.openapi.yaml\noperation: rate\n"


def test_an_openapi_document_keeps_its_texts(tmp_path):
    tool = load(tmp_path, FROM_SPEC, CUSTOMS)
    fields = tool.parameters["properties"]
    assert {name: field.get("enum") for name, field in fields.items()} == {
        "country": ["SE", "NO", "DK"],
        "insured": ["yes", "no", "on", "off"],
        "since": None,
        "opens": ["08:30", "12:45", "10:30:15"],
        "postcode": ["01067", "010", "1_000"],
        "sign": ["=", "<", "y", "n"],
        "on": None,
    }
    assert fields["since"]["default"] == "2026-05-01"
    assert read_arguments(tool, '{"country": "NO", "postcode": "01067"}')["country"] == "NO"


def test_a_definition_keeps_its_texts_too(tmp_path):
    tool = load(tmp_path, INLINE)
    assert tool.parameters["required"] == ["no"]
    assert [*tool.parameters["properties"]] == ["no", "off", "2026"]
    assert tool.parameters["properties"]["no"]["enum"] == ["SE", "NO", "DK"]
    assert tool.parameters["properties"]["off"]["default"] == "2026-05-01"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_file_may_begin_with_a_byte_order_mark(tmp_path, encoding):
    text = FROM_SPEC + "description: Gebühr\n"
    tool = load(tmp_path, text.encode(encoding), CUSTOMS.encode(encoding))
    assert tool.description == "Gebühr"


@pytest.mark.parametrize(
    "text, value",
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("08:30", "08:30"),
        ("190:20:30", "190:20:30"),
        ("12", 12),
        ("-7", -7),
        ("0", 0),
        ("010", "010"),
        ("01067", "01067"),
        ("1_000", "1_000"),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b11", "0b11"),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("00.5", "00.5"),
        ("2026-05-01", "2026-05-01"),
        ("2020-13-45", "2020-13-45"),
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"),
        ("!!timestamp 2026-05-01", "2026-05-01"),
        ("!!binary aGk=", "aGk="),
        ("=", "="),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("{on: 1, 2: 3, null: 4, 1.50: 5}", {"on": 1, "2": 3, "null": 4, "1.50": 5}),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
    ],
)
def test_what_plain_values_are(text, value):
    assert yaml_files.load(text) == value
    assert json.loads(json.dumps(yaml_files.load(text))) == value


PRINTED = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff")


@given(
    st.text(PRINTED, max_size=12) | st.integers() | st.booleans() | st.none() | st.dates().map(str)
)
def test_what_is_written_is_read_the_same(value):
    text = yaml_files.dump({"a": value}, allow_unicode=True)
    assert yaml_files.load(text) == {"a": value}


@pytest.mark.parametrize("text", ["01067", "1e3", "0o17", "NO", "08:30", "2026-05-01", "=", ""])
def test_a_text_that_looks_like_a_value_is_quoted(text):
    written = yaml_files.dump([text])
    assert yaml_files.load(written) == [text] == yaml.safe_load(written)


def test_a_number_where_a_text_has_to_be_is_told(tmp_path):
    with pytest.raises(folder.DefinitionsError, match=r"x-version.*put it in quotes"):
        load(tmp_path, "url: http://tools/look\nheaders: {x-version: 1.10}\n")


def test_a_schema_that_json_cannot_hold_is_told():
    assert "JSON cannot" in (schema_error({"default": object()}) or "")
    assert "JSON cannot" in (schema_error({"default": float("nan")}) or "")
