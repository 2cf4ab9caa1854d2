"""A reader of a shared log chooses by the type in the header, and is told of a record of no class."""

from dataclasses import dataclass

import pytest

from schemas.events.agent.runs import RequestCleared, RunFinished
from schemas.events.guardrails import VerdictReached
from schemas.events.tracing import SpanEnded
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError, event_name, type_name

LOG = "p." + SpanEnded.topic()


@dataclass
class Record:
    on: str
    type: bytes | None = None

    def topic(self) -> str:
        return self.on

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None if self.type is None else [("traceparent", b"x"), ("ce_type", self.type)]


def of(kind) -> Record:
    return Record("p." + kind.topic(), type_name(kind).encode())


TYPES = RecordTypes("p.", (SpanEnded, VerdictReached, RunFinished))


def test_the_classes_of_one_log_are_told_apart_by_the_header():
    assert RequestCleared.topic() == SpanEnded.topic() == VerdictReached.topic()
    assert TYPES.topics == sorted({LOG, "p." + RunFinished.topic()})
    assert [TYPES.of(of(kind)) for kind in TYPES.wanted] == list(TYPES.wanted)
    assert TYPES.of(of(RequestCleared)) is None, "known, and not wanted here"
    assert TYPES.classes_in(LOG) == (SpanEnded, VerdictReached)


@pytest.mark.parametrize("header", [None, b"weir.agent.RunFinished", b"anything"])
def test_a_topic_of_one_class_says_which_it_is_whatever_the_header_says(header):
    assert TYPES.of(Record("p." + RunFinished.topic(), header)) is RunFinished


@pytest.mark.parametrize(
    "header", [None, b"", b"anything", b"\xff", b"weir.agent.RunFinished", b"SpanEnded"]
)
def test_a_record_in_a_shared_log_that_names_no_class_of_it_is_foreign(header):
    with pytest.raises(UnknownRecordTypeError, match="no class of"):
        TYPES.of(Record(LOG, header))


def test_an_event_is_named_by_its_header():
    assert event_name(of(SpanEnded).headers()) == "SpanEnded"
    assert event_name(None) == ""
