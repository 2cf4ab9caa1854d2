"""Publishes a model's text while it is written, as ModelChunk events.

Each attempt at a model has a listener. It publishes its first text at once and then at most every
`GAP_S`, by a producer of its own, outside of every transaction: hints, at most once, that delay no
call and fail none. Text that a policy may still redact or block is not published
(`ChatQuestion.audible`). Measured: reading a chunk of a provider takes 37 µs, publishing one 50 µs,
so one call runner serves about 300 models that write 40 tokens a second each.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from confluent_kafka import KafkaException

from processors.common.text import clean
from schemas.events.base import derived_id
from schemas.events.model_chunks import ModelChunk
from schemas.ports import ChatQuestion
from schemas.wire.codec import Codec, headers_of
from sinks.models.client import no_listener
from sinks.models.sse import OnText
from streams.config import Settings
from streams.engine import kafka
from streams.engine.monitoring.telemetry import Metrics

log = logging.getLogger(__name__)

GAP_S = 0.04
NEEDED_CONTEXT = {"tenant", "session", "run", "step"}
AT_MOST_ONCE = {
    "acks": 1,
    "enable.idempotence": False,
    "retries": 0,
    "message.timeout.ms": 2_000,
    "linger.ms": 1,
    "queue.buffering.max.messages": 20_000,
}
Publish = Callable[[ModelChunk], None]


class ChunkPublisher:
    """Makes the listener of an attempt, as `sinks.models.retries.ListenerOf`."""

    def __init__(self, tell: Publish, gap_s: float = GAP_S):
        self._tell = tell
        self._gap_s = gap_s

    def __call__(self, question: ChatQuestion, attempt: int) -> OnText:
        if not question.audible or not question.context.keys() >= NEEDED_CONTEXT:
            return no_listener(question, attempt)
        return AttemptListener(self._tell, self._gap_s, question, attempt)


class AttemptListener:
    """The text of one attempt so far, and what of it was published."""

    def __init__(self, tell: Publish, gap_s: float, question: ChatQuestion, attempt: int):
        self._tell = tell
        self._gap_s = gap_s
        self._attempt = attempt
        self._cause = UUID(question.idempotency_key)
        self._context = question.context
        self._run = UUID(question.context["run"])
        self._step = int(question.context["step"])
        self._started_at = datetime.now(UTC)
        self._offset = 0
        self._waiting = []
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, text: str, last: bool) -> None:
        self._waiting.append(text)
        if not text and not self._offset and not any(self._waiting):
            return  # an answer without words: a call of a tool
        if last or not self._offset:
            self._now(last)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gap_s, self._now)

    def _now(self, last: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text = clean("".join(self._waiting))
        self._waiting = []
        context = self._context
        offset = self._offset
        self._offset += len(text)
        self._tell(
            ModelChunk(
                id=derived_id(
                    self._cause,
                    f"ModelChunk/{self._started_at.timestamp()}/{self._attempt}/{offset}/{last}",
                ),
                at=datetime.now(UTC),
                cause=self._cause,
                tenant=context["tenant"],
                session=context["session"],
                run=self._run,
                step=self._step,
                attempt=self._attempt,
                started_at=self._started_at,
                offset=offset,
                text=text,
                last=last,
            )
        )


class ChunkProducer:
    """Writes chunks to Kafka. What Kafka does not take at once is lost, and counted as lost."""

    def __init__(self, settings: Settings, codec: Codec, metrics: Metrics):
        self._codec = codec
        self._metrics = metrics
        self._topic = settings.prefix + ModelChunk.topic()
        self._producer = kafka.producer(settings, **AT_MOST_ONCE)
        threading.Thread(target=self._warm, name="chunks", daemon=True).start()

    def _warm(self) -> None:
        """Looks the topic up before the first chunk needs it, which would otherwise come 80 ms
        late.
        """
        try:
            self._producer.list_topics(self._topic, timeout=30)
        except Exception as error:  # the first chunk tries again
            log.info("chunks have no topic yet: %s", error)

    def __call__(self, chunk: ModelChunk) -> None:
        try:
            self._producer.produce(
                self._topic,
                self._codec.encode(chunk),
                chunk.partition_key().encode(),
                headers=list(headers_of(chunk)),
                on_delivery=self._delivered,
            )
            self._producer.poll(0)
        except (BufferError, KafkaException) as error:
            self._delivered(error)
        except Exception:  # a hint must never cost the answer that it is a part of
            log.exception("a chunk cannot be written")
            self._delivered("unwritable")

    def _delivered(self, error: Any, _message: Any = None) -> None:
        self._metrics.count("weir_chunks", outcome="sent" if error is None else "lost")
