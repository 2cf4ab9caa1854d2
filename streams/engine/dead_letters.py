"""The dead letter queue: what becomes of a record that no step can take, and how it is replayed.

A dead letter keeps the record whole: key, value and headers, and the place where it stood. It is
written in the same transaction as the offsets that pass it, so none is lost or doubled. Giving
letters back is a transaction too, with a mark of each in a compacted topic: a second replay finds
the mark and leaves the letter alone, unless told otherwise.
"""

import base64
import json
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Message

from schemas.events.base import Event
from schemas.events.operations import DeadLettered, Reason
from schemas.wire.codec import Codec, DecodeError, Headers, headers_of
from streams.config import Settings
from streams.engine.kafka import admin, create_topics, high_watermark, producer, read_to
from streams.engine.stages.changelog import topic as changelog
from streams.engine.transactions import Transactions

log = logging.getLogger(__name__)
WINDOW, LEAST = 200, 100
DETAIL_CHARS = 2_000
VALUE_BYTES_MAX = 7 * 1024 * 1024
BINARY = "base64:"
UNKNOWN = "unknown"
MARKS = changelog("deadletters", 1)
BATCH = 500


@dataclass(frozen=True)
class Rejection:
    """Why something becomes a dead letter, and when.

    `consumer` names who could not take it: a stage, a step of it, a sink.
    """

    reason: Reason
    detail: str
    consumer: str
    at: datetime


def letter(message: Message, rejection: Rejection, topic_id: str = "") -> DeadLettered:
    """The dead letter of a record. With the `topic_id`, where it is known, the letter of another
    record at the same place of a topic made anew is another.

    A value of more than 7 MiB would make a letter that no broker takes: it stays where it stands,
    and `detail` says so.
    """
    source = f"{message.topic()}:{message.partition()}:{message.offset()}"
    detail = rejection.detail
    value = message.value()
    if value is not None and len(value) > VALUE_BYTES_MAX:
        detail = (
            f"{detail[:DETAIL_CHARS]} (its {len(value)} bytes are not in this letter: read "
            f"them at {source})"
        )
        value = None
    return DeadLettered.about(
        rejection.consumer,
        source,
        *filter(None, [topic_id]),
        at=rejection.at,
        tenant=tenant_of(message.key()),
        source=source[:200],
        topic_name=message.topic(),
        topic_id=topic_id,
        partition=message.partition(),
        offset=message.offset(),
        record_key=message.key(),
        record_value=value,
        headers=as_text(message.headers()),
        consumer=rejection.consumer,
        reason=rejection.reason,
        detail=readable(detail),
    )


def letter_about(
    event: Event, value: bytes, message: Message, rejection: Rejection
) -> DeadLettered:
    """The dead letter of an event that a stage made of `message` itself, so that it stood nowhere
    yet.
    """
    source = f"{message.topic()}:{message.partition()}:{message.offset()}"
    return DeadLettered.about(
        rejection.consumer,
        source,
        event.id,
        at=rejection.at,
        tenant=event.tenant,
        source=source[:200],
        topic_name=event.topic(),
        partition=message.partition(),
        offset=message.offset(),
        record_key=event.partition_key().encode(),
        record_value=value,
        headers=as_text(headers_of(event)),
        consumer=rejection.consumer,
        reason=rejection.reason,
        detail=readable(rejection.detail),
    )


def letter_of_timer(
    key: str, place: str, subject: str, partition: int, turn: int, rejection: Rejection
) -> DeadLettered:
    """The dead letter of a timer or a window that raised: no record caused it, so it has no topic
    to go back to.
    """
    source = f"{rejection.consumer}:{key}:{place}"
    return DeadLettered.about(
        source,
        at=rejection.at,
        tenant=key.partition("/")[0] or UNKNOWN,
        source=source[:200],
        topic_name="",
        partition=partition,
        offset=turn,
        record_key=key.encode(),
        record_value=subject.encode(),
        consumer=rejection.consumer,
        reason=rejection.reason,
        detail=readable(rejection.detail),
    )


def tenant_of(key: bytes | None) -> str:
    """The tenant that a record's key names, as far as one can tell."""
    try:
        return (key or b"").decode().partition("/")[0][:200] or UNKNOWN
    except UnicodeDecodeError:
        return UNKNOWN


def readable(detail: str) -> str:
    """Text that Avro can hold: no lone surrogates, not too long."""
    return detail[:DETAIL_CHARS].encode("utf-8", "replace").decode()


def as_text(headers: Any) -> dict[str, str]:
    """Headers as a letter holds them: text as it is, anything else in base64. Of equal names the
    last one stays.
    """
    return {name: _text(value or b"") for name, value in headers or ()}


def _text(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return BINARY + base64.b64encode(value).decode()
    return text if not text.startswith(BINARY) else BINARY + base64.b64encode(value).decode()


def as_headers(text: dict[str, str]) -> Headers:
    """The inverse of `as_text`."""
    return [
        (
            name,
            base64.b64decode(value[len(BINARY) :]) if value.startswith(BINARY) else value.encode(),
        )
        for name, value in text.items()
    ]


class ShareLimit:
    """Stops a consumer that would put everything into the dead letters: a share of the last 200
    records.
    """

    def __init__(self, share_max: float, window: int = WINDOW, least: int = LEAST):
        self._share_max, self._window, self._least = share_max, window, least
        self._seen = 0
        self._deaths: deque[int] = deque()

    def add(self, dead: bool) -> None:
        self._seen += 1
        if dead:
            self._deaths.append(self._seen)

    @property
    def dead(self) -> int:
        """How many of the last records were dead letters."""
        while self._deaths and self._deaths[0] <= self._seen - self._window:
            self._deaths.popleft()
        return len(self._deaths)

    @property
    def exceeded(self) -> bool:
        return self.dead >= self._least and self.dead > self._share_max * min(
            self._seen, self._window
        )

    def sentence(self, consumer: str, last: str) -> str:
        return (
            f"{consumer} stopped: {self.dead} of the last {min(self._seen, self._window)} records "
            "were dead letters, the last "
            f"one because {last}. Mend what writes them (or raise WEIR_DEAD_SHARE_MAX), then start "
            "it again: "
            f"nothing was passed over"
        )


def read_all(settings: Settings, codec: Codec) -> list[DeadLettered]:
    """Every dead letter on Kafka, in no special order. What is none is left out: the sink worker
    makes a letter of it.
    """
    name = settings.prefix + DeadLettered.topic()
    partitions = admin(settings).list_topics(name, timeout=30).topics[name].partitions
    found = []
    for message in (
        message for number in partitions for message in _records(settings, name, number)
    ):
        try:
            found.append(codec.decode(DeadLettered, message.value(), message.key()))
        except DecodeError as error:
            log.warning(
                "%s:%d:%d is no dead letter: %s", name, message.partition(), message.offset(), error
            )
    return found


def replay(settings: Settings, letters: Iterable[DeadLettered], again: bool = False) -> int:
    """Puts the original records back on their topics, each once; returns how many.

    Those given back before are left alone, unless `again`. A letter that has no record (of a timer
    or a window, or one too large to be kept) cannot go back and is passed over. Raises AbortedError
    or LostError; then none of the last batch of 500 was given back.
    """
    create_topics(settings, [MARKS])
    maker = Transactions(producer(settings, "deadletters-replay"))
    maker.init()  # fences another replay under way, so that its marks are all there to be read
    marked = {message.key() for message in _records(settings, settings.prefix + MARKS.name, 0)}
    chosen = {
        letter.id: letter
        for letter in letters
        if letter.topic_name and letter.record_value is not None
    }
    due = [letter for letter in chosen.values() if again or letter.id.bytes not in marked]
    for start in range(0, len(due), BATCH):
        _give_back(settings, maker, due[start : start + BATCH])
    return len(due)


def _give_back(settings: Settings, maker: Transactions, letters: list[DeadLettered]) -> None:
    maker.begin()
    for letter in letters:
        headers = [*as_headers(letter.headers), ("weir_replayed", str(letter.id).encode())]
        maker.produce(letter.topic_name, letter.record_value, letter.record_key, headers)
        mark = {"source": letter.source, "at": datetime.now(UTC).isoformat()}
        maker.produce(
            settings.prefix + MARKS.name, json.dumps(mark).encode(), letter.id.bytes, partition=0
        )
    maker.commit_records()


def _records(settings: Settings, topic: str, partition: int) -> Iterable[Any]:
    return read_to(settings, topic, partition, high_watermark(settings, topic, partition))
