"""Does a walk let through nothing that reading would refuse, and all that our own steps write?"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.catalogue import event_classes
from schemas.wire.avro_schema import schema_of
from schemas.wire.codec import HEAD, Codec, LocalIds, from_json
from schemas.wire.plain_values import plain_of_value
from schemas.wire.validator import InvalidRecordError, check, walk_of

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples"
CODEC = Codec(LocalIds(event_classes()))
WALKED = [
    (kind, path)
    for kind in event_classes().values()
    if walk_of(kind)
    for path in sorted((EXAMPLES / kind.__name__).glob("*.json"))
]
VALUES = [(kind, CODEC.encode(from_json(kind, path.read_text()))) for kind, path in WALKED]
REFUSED = (InvalidRecordError, IndexError, UnicodeDecodeError)


def walked(kind, value: bytes) -> int:
    """The event time, after all that is asked of a value."""
    texts, ids = [], []
    at_ms = walk_of(kind)(value, HEAD.size, texts.append, ids.append)
    check(texts, ids)
    return at_ms


@pytest.mark.parametrize(
    "kind, path", WALKED, ids=lambda at: at.stem if isinstance(at, Path) else at.__name__
)
def test_every_example_is_let_through_with_its_time(kind, path):
    event = from_json(kind, path.read_text())
    assert walked(kind, CODEC.encode(event)) == round(event.at.timestamp() * 1000)


@settings(max_examples=500)
@given(st.sampled_from(VALUES), st.data())
def test_whatever_is_let_through_can_be_read_and_says_the_same(example, data):
    """A byte changed, bytes gone, bytes added: what is let through is one event, with no negative
    count in it.
    """
    kind, value = example
    place = data.draw(st.integers(HEAD.size, len(value)))
    changed = (
        value[:place]
        + data.draw(st.binary(max_size=3))
        + value[place + data.draw(st.integers(0, 3)) :]
    )
    try:
        at_ms = walked(kind, changed)
    except REFUSED:
        return
    fields = plain_of_value(kind, changed)
    assert fields["at"] == at_ms
    for each in schema_of(kind)["fields"]:
        if each["type"] == "long":
            assert fields[each["name"]] >= 0


@pytest.mark.parametrize(
    "texts, ids",
    [
        ([b"\xc3", b"\xa9"], []),
        ([b"\xff"], []),
        ([], [b"f" * 36]),
        ([], [b"00000000-0000-0000-0000-00000000000F"]),
        ([], [b"\xff" * 36]),
    ],
)
def test_half_characters_and_ids_that_are_none_are_found_among_many(texts, ids):
    with pytest.raises(REFUSED):
        check([b"fine", *texts], [b"01234567-89ab-cdef-0123-456789abcdef", *ids])


def test_a_class_with_a_list_or_a_map_has_no_walk():
    assert walk_of(event_classes()["DeadLettered"]) is None
