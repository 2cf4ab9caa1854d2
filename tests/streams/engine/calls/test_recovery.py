"""Which question a record answers is read from its header; a header that nobody here wrote names
none.
"""

from dataclasses import dataclass

import pytest

from streams.engine.calls.recovery import header, question_of


@dataclass
class Record:
    has: list[tuple[str, bytes | None]] | None

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.has

    def partition(self) -> int:
        return 3


def test_it_names_its_question():
    assert question_of(Record([("x", b"1"), header("weir.agent.model-asked", 17)])) == (
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
    assert question_of(Record([("weir_asked", value)])) is None
    assert question_of(Record(None)) is None
