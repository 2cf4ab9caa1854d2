"""Follows the text of a model while it is being written, and resumes after a lost connection.

Only the newest attempt counts: when another begins, what was read of the one before is void, and
the reader is told to begin again. A reader that comes back names the place that it had reached, and
gets what follows it.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID, uuid4

from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event, milliseconds
from schemas.events.model_chunks import ModelChunk
from schemas.wire.codec import Codec, DecodeError
from streams.config import Settings
from streams.engine import kafka
from streams.engine.client import OUTCOMES, now, places

BACK = timedelta(minutes=10)
POLL_S = 0.25


@dataclass(frozen=True, order=True)
class Place:
    """How far somebody has read: which attempt at which step, and how many characters of it."""

    step: int = 0
    started_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    attempt: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.step}-{milliseconds(self.started_at)}-{self.attempt}-{self.offset}"

    @classmethod
    def of(cls, text: str) -> Self:
        """The place that a text names. Raises ValueError with a sentence."""
        try:
            step, started_ms, attempt, offset = map(int, text.split("-"))
            return cls(
                step,
                datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=started_ms),
                attempt,
                offset,
            )
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"{text!r} is no place in a text: use the one that came with the last piece"
            ) from error


@dataclass(frozen=True)
class Piece:
    """Text to show. `fresh`: it belongs to another attempt than what was shown before, which is
    void. `missing`: so many characters before it were lost on their way. `place` is where the
    reader is after it.
    """

    text: str
    place: Place
    fresh: bool
    missing: int = 0
    last: bool = False


class Reader:
    """One reader of one run: chunks in whatever order, pieces out."""

    def __init__(self, run: UUID, place: Place | None = None):
        self._run, self._place = run, place or Place()
        self._ended = False

    def take(self, chunk: ModelChunk) -> Piece | None:
        """What a chunk adds for this reader; None where it is of another run or attempt, or
        known.
        """
        attempt = Place(chunk.step, chunk.started_at, chunk.attempt)
        mine = replace(self._place, offset=0)
        if chunk.run != self._run or attempt < mine:
            return None
        fresh = attempt > mine
        had = 0 if fresh else self._place.offset
        end = chunk.offset + len(chunk.text)
        ends = chunk.last and (fresh or not self._ended)
        if not fresh and end <= had and not ends:
            return None
        self._place, self._ended = replace(attempt, offset=max(had, end)), chunk.last
        text, missing = chunk.text[max(0, had - chunk.offset) :], max(0, chunk.offset - had)
        return Piece(text, self._place, fresh, missing, chunk.last)


def follow(
    settings: Settings,
    codec: Codec,
    run: UUID,
    place: Place | None = None,
    timeout_s: float = 120,
    back: timedelta = BACK,
) -> Iterator[Piece | RunFinished | RequestRefused]:
    """The pieces of a run's text as they come, then its outcome; from what is at most `back` old.
    Ends without an outcome where none came in time.
    """
    kinds: dict[str, type[Event]] = {
        settings.prefix + kind.topic(): kind for kind in (ModelChunk, *OUTCOMES)
    }
    reader, deadline = Reader(run, place), time.monotonic() + timeout_s
    consumer = kafka.consumer(settings, f"follow-{uuid4().hex[:12]}", **{"fetch.wait.max.ms": 5})
    try:
        consumer.assign(places(consumer, kinds, milliseconds(now() - back)))
        while time.monotonic() < deadline:
            first = consumer.poll(POLL_S)
            outcome = None
            for message in () if first is None else (first, *consumer.consume(1_000, 0)):
                kind = kinds.get(message.topic() or "")
                if message.error() or kind is None:
                    continue
                try:
                    event = codec.decode(kind, message.value())
                except DecodeError:
                    continue  # not ours to judge: the pipeline has made a dead letter of it
                piece = reader.take(event) if isinstance(event, ModelChunk) else None
                if piece is not None:
                    yield piece
                elif isinstance(event, RunFinished | RequestRefused) and event.run == run:
                    outcome = event
            if outcome is not None:
                yield outcome
                return
    finally:
        consumer.close()
