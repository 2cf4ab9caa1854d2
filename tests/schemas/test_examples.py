"""Is there an example of every event, is each valid, and does each survive the wire?"""

import json
from pathlib import Path

import pytest

from schemas.catalogue import event_classes
from schemas.wire.codec import Codec, LocalIds, from_json, to_json

FOLDER = Path(__file__).parents[2] / "schemas" / "examples"
CLASSES = event_classes()
EXAMPLES = sorted(FOLDER.glob("*/*.json"))


def test_every_event_has_an_example_with_all_fields_and_one_with_no_more_than_it_needs():
    missing = [
        f"{name}/{variant}"
        for name in CLASSES
        for variant in ("full", "minimal")
        if not (FOLDER / name / f"{variant}.json").exists()
    ]
    assert not missing, "write them to schemas/examples"


def test_no_example_is_an_orphan():
    assert {path.name for path in FOLDER.iterdir()} <= CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_the_full_example_has_every_field_and_no_default_value(name):
    kind, fields = CLASSES[name], json.loads((FOLDER / name / "full.json").read_text())
    assert fields.keys() == kind.model_fields.keys()
    event = kind.model_validate(fields)
    at_default = [
        field
        for field, info in kind.model_fields.items()
        if not info.is_required()
        and field != "cause"
        and getattr(event, field) == info.get_default()
    ]
    assert set(at_default) <= {"timeout_ms"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_survives_the_wire(path):
    kind, codec = CLASSES[path.parent.name], Codec(LocalIds(CLASSES))
    event = from_json(kind, path.read_text(encoding="utf-8"))
    assert codec.decode(kind, codec.encode(event), event.partition_key().encode()) == event
    assert from_json(kind, to_json(event)) == event
