"""Tools that are services on Kafka: they read calls from one topic and write replies to another.

A call is a record on the request topic: the arguments as JSON, keyed by tenant and session, with
the headers `correlation-id` and `idempotency-key` (both the idempotency key), `reply-topic`,
`weir-tenant`, ... and `traceparent`. A reply is a record on the reply topic with the same
`correlation-id`: its value is the result, or what went wrong where it has a header `error`.
Spring's `kafka_correlationId` and `kafka_replyTopic` may be used instead. A call may come again
with the same key, after a crash: the service replies again and does the work once.
"""

import asyncio
import contextlib
import logging
import re
import threading
import time
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.definitions.tools import KafkaTarget
from schemas.ports import ToolQuestion
from sinks.http import DETAIL_CHARS, CallError, Secret, context_headers
from sinks.tools.results import ToolResult, check_length, wrong_target
from streams.config import Settings
from streams.engine import kafka

log = logging.getLogger(__name__)

CORRELATION = ("correlation-id", "kafka_correlationId", "weir-correlation-id")
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
POLL_S = 0.1
METADATA_S = 10.0
PARTITIONS_CHECK_S = 30.0
OWN_PREFIX = "weir."
RecordHeaders = (
    dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]] | list[tuple[str, bytes]]
)


class ServiceReply(NamedTuple):
    """A service's reply: its result, or in `error` why there is none."""

    text: str
    error: str | None = None
    ends: bool = False


class ReplyWaiters:
    """The calls that wait for a reply. The first reply counts; others are ignored."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[ServiceReply]]] = {}

    @contextlib.contextmanager
    def expected(self, key: str) -> Any:
        """A future of the reply to a call, for as long as the block lasts."""
        future: asyncio.Future[ServiceReply] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            self._waiting[key].remove(future)
            if not self._waiting[key]:
                del self._waiting[key]

    def take(self, key: str, reply: ServiceReply) -> None:
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(reply)


def _text(value: str | bytes | None) -> str:
    return value if isinstance(value, str) else (value or b"").decode("utf-8", "replace")


def call_headers(question: ToolQuestion, reply_topic: str) -> list[tuple[str, str | bytes | None]]:
    """The headers of a call's record."""
    key = question.idempotency_key

    ours = {
        "correlation-id": key,
        "idempotency-key": key,
        "reply-topic": reply_topic,
        "kafka_correlationId": key,
        "kafka_replyTopic": reply_topic,
        "content-type": "application/json",
    }
    return [
        (name, value.encode()) for name, value in (ours | context_headers(question.context)).items()
    ]


def reply_of(headers: RecordHeaders | None, value: bytes | None) -> tuple[str, ServiceReply] | None:
    """The key of the call that a record answers, and the reply; None where it answers none."""
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    given = {name.lower(): _text(value) for name, value in pairs}
    key = next((given[name.lower()] for name in CORRELATION if given.get(name.lower())), None)
    if key is None:
        return None
    text = _text(value)
    error = (
        (given["error"] or text or "the service says that it failed, and not why")
        if "error" in given
        else None
    )
    return key, ServiceReply(text, error, given.get("weir-ends", "").lower() == "true")


class KafkaTools:
    """The kind `kafka` of tools. A thread for each reply topic reads from where it ended when it
    was first needed.
    """

    def __init__(self, settings: Settings, metadata_s: float = METADATA_S):
        self._settings = settings
        self._metadata_s = metadata_s
        self._lock = asyncio.Lock()
        self._closing = threading.Event()
        self._producer: Producer | None = None
        self._listening: dict[str, ReplyWaiters] = {}
        self._threads: list[threading.Thread] = []

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> ToolResult:
        target = question.target
        if not isinstance(target, KafkaTarget):
            raise wrong_target(question)
        for topic in (target.request_topic, target.reply_topic):
            if not is_service_topic(topic, self._settings.prefix):
                raise CallError(
                    "bad_topic",
                    f"{topic!r} is not allowed as a topic of a service: do not use Weir's own "
                    "topics, and only letters, "
                    "digits, '.', '_' and '-'",
                )
        sent = asyncio.get_running_loop().create_future()
        begun = False
        try:
            async with asyncio.timeout(left_s):
                producer, replies = await self._replies(target)
                with replies.expected(question.idempotency_key) as answered:
                    self._send(producer, question, target, sent)
                    begun = True
                    await asyncio.wait((answered, sent), return_when=asyncio.FIRST_COMPLETED)
                    if not answered.done():
                        sent.result()
                    reply = await answered
        except TimeoutError as error:
            words = f"no answer on {target.reply_topic}" if begun else "Kafka could not be asked"
            raise CallError("timeout", f"{words} within {left_s:.1f} s", uncertain=begun) from error
        if reply.error is not None:
            raise CallError("tool_error", reply.error[:DETAIL_CHARS])
        return ToolResult(check_length(reply.text, question.result_chars), reply.ends)

    async def _replies(self, target: KafkaTarget) -> tuple[Producer, ReplyWaiters]:
        """The producer, and the calls that wait on the reply topic, which is read from here on.
        Raises CallError.
        """
        async with self._lock:
            if self._producer is None:
                self._producer = kafka.producer(self._settings)
            topic = target.reply_topic
            if topic not in self._listening:
                consumer = await asyncio.to_thread(self._listen, topic, target.request_topic)
                self._listening[topic] = ReplyWaiters()
                loop = asyncio.get_running_loop()
                self._threads.append(
                    threading.Thread(
                        target=self._read,
                        args=(consumer, self._producer, topic, loop),
                        daemon=True,
                        name=f"replies {topic}",
                    )
                )
                self._threads[-1].start()
            return self._producer, self._listening[topic]

    def _listen(self, topic: str, request_topic: str) -> Consumer:
        """A consumer at the end of every partition. Raises CallError."""
        consumer = kafka.consumer(self._settings, "tool-replies", **{"fetch.wait.max.ms": 10})
        try:
            for name in (request_topic, topic):
                if partitions_of(consumer, name, self._metadata_s) == 0:
                    raise CallError(
                        "no_topic",
                        f"there is no topic {name!r}: create it, or correct the tool's definition",
                    )
            ends = [
                TopicPartition(
                    topic,
                    nth,
                    consumer.get_watermark_offsets(TopicPartition(topic, nth), self._metadata_s)[1],
                )
                for nth in range(partitions_of(consumer, topic, self._metadata_s))
            ]
            consumer.assign(ends)
        except KafkaException as error:
            consumer.close()
            raise CallError("refused", f"Kafka: {error.args[0].str()}", retryable=True) from error
        except CallError:
            consumer.close()
            raise
        return consumer

    def _send(
        self,
        producer: Producer,
        question: ToolQuestion,
        target: KafkaTarget,
        sent: asyncio.Future[None],
    ) -> None:
        loop = asyncio.get_running_loop()

        def settle(error: KafkaError | None) -> None:
            if sent.done():
                return
            if error is None:
                sent.set_result(None)
            else:
                unsure = error.code() == KafkaError._MSG_TIMED_OUT
                sent.set_exception(
                    CallError("refused", f"Kafka: {error.str()}", retryable=True, uncertain=unsure)
                )
                sent.exception()  # the time may have been over before

        def delivered(error: KafkaError | None, _message: Message) -> None:
            with contextlib.suppress(
                RuntimeError
            ):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(settle, error)

        key = f"{question.context.get('tenant', '')}/{question.context.get('session', '')}"
        try:
            producer.produce(
                target.request_topic,
                question.arguments.encode("utf-8", "replace"),
                key.encode(),
                headers=call_headers(question, target.reply_topic),
                on_delivery=delivered,
            )
            producer.poll(0)
        except (KafkaException, BufferError) as error:
            raise CallError("refused", f"Kafka: {error}", retryable=True) from error

    def _read(
        self,
        consumer: Consumer,
        producer: Producer,
        topic: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """The thread of a reply topic, which also serves the producer's delivery reports."""
        replies = self._listening[topic]
        looked_at = time.monotonic()
        while not self._closing.is_set():
            try:
                message = consumer.poll(POLL_S)
                producer.poll(0)
                if message is not None and message.error() is None:
                    found = reply_of(message.headers(), message.value())
                    if found:
                        loop.call_soon_threadsafe(replies.take, *found)
                if time.monotonic() - looked_at > PARTITIONS_CHECK_S:
                    looked_at = time.monotonic()
                    grown = range(
                        len(consumer.assignment()), partitions_of(consumer, topic, self._metadata_s)
                    )
                    if grown:
                        consumer.incremental_assign(
                            [TopicPartition(topic, nth, 0) for nth in grown]
                        )
            except KafkaException as error:
                log.warning("replies on %s: %s", topic, error)
            except RuntimeError:  # the loop has ended
                break
        consumer.close()

    def close(self) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(5)


def is_service_topic(topic: str, prefix: str) -> bool:
    """Whether a name may be a service's topic: Weir's own topics are written by nobody else."""
    return TOPIC.fullmatch(topic) is not None and not topic.startswith(
        (OWN_PREFIX, prefix + OWN_PREFIX)
    )


def partitions_of(consumer: Consumer, topic: str, metadata_s: float) -> int:
    """The number of a topic's partitions; 0 where there is none."""
    found = consumer.list_topics(topic, metadata_s).topics[topic]
    return 0 if found.error is not None else len(found.partitions)
