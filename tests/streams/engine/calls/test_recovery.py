"""Which question a record answers is read from its header; a header that nobody here wrote names
none.
"""

import pytest
from confluent_kafka import Message

from streams.engine.calls.recovery import header, question_of


def record(headers: list[tuple[str, str | bytes | None]] | None) -> Message:
    return Message(topic="answers", partition=3, offset=0, headers=headers)


def test_it_names_its_question():
    assert question_of(record([("x", b"1"), header("weir.agent.model-asked", 17)])) == (
        ("weir.agent.model-asked", 3),
        17,
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"topic",
        b"topic/",
        b"topic/x",
        b"/7",
        b"topic/-7",
        b"\xff\xfe/7",
        b"topic/" + b"9" * 5_000,
        "topic/\u0667".encode(),
    ],
)
def test_a_foreign_header_names_none(value):
    assert question_of(record([("weir_asked", value)])) is None
    assert question_of(record(None)) is None
