"""How does a service that reads calls from one topic and answers on another serve as a tool?

A call is a record on the request topic: the arguments as JSON, keyed by tenant and session, with
the headers `correlation-id` and `idempotency-key` (our key, both), `reply-topic`, `weir-tenant`,
... and `traceparent`. An answer is a record on the reply topic with the same `correlation-id`: its
value is the result, or what went wrong where it has a header `error`. Spring's
`kafka_correlationId` and `kafka_replyTopic` stand beside ours and do as well. A call may come again
with the same key, after a crash: the service answers it again and does it once.
"""

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.definitions.tools import KafkaTarget
from schemas.ports import ToolQuestion
from sinks.http import DETAIL_CHARS, Refusal, Secret, context_headers
from sinks.tools.results import Result, short_enough, unreachable
from streams.config import Settings
from streams.engine import kafka

log = logging.getLogger(__name__)

CORRELATION = ("correlation-id", "kafka_correlationId", "weir-correlation-id")
TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
POLL_S = 0.1
LISTEN_S = 10.0
GROWN_S = 30.0
OWN = "weir."


class Reply(NamedTuple):
    """What a service answered: its result, or in `error` why there is none."""

    text: str
    error: str | None = None
    ends: bool = False


class Replies:
    """Who waits for which answer. The first one counts; those that nobody waits for are left alone."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[Reply]]] = {}

    @contextlib.contextmanager
    def expected(self, key: str) -> Any:
        """A future of the answer to a call, for as long as the block lasts."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        try:
            yield future
        finally:
            self._waiting[key].remove(future)
            if not self._waiting[key]:
                del self._waiting[key]

    def take(self, key: str, reply: Reply) -> None:
        for future in self._waiting.get(key, ()):
            if not future.done():
                future.set_result(reply)


def call_headers(question: ToolQuestion, reply_topic: str) -> list[tuple[str, bytes]]:
    """What a call's record bears besides its arguments."""
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


def reply_of(
    headers: Iterable[tuple[str, bytes | None]] | None, value: bytes | None
) -> tuple[str, Reply] | None:
    """Whose answer a record is, and what it says; None where it is nobody's."""
    given = {name.lower(): (text or b"").decode("utf-8", "replace") for name, text in headers or ()}
    key = next((given[name.lower()] for name in CORRELATION if given.get(name.lower())), None)
    if key is None:
        return None
    text = (value or b"").decode("utf-8", "replace")
    error = (
        (given["error"] or text or "the service says that it failed, and not why")
        if "error" in given
        else None
    )
    return key, Reply(text, error, given.get("weir-ends", "").lower() == "true")


class KafkaTools:
    """The kind `kafka` of tools. A thread for each reply topic reads from where it ended when it
    was first needed.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = asyncio.Lock()
        self._closing = threading.Event()
        self._producer: Producer | None = None
        self._listening: dict[str, Replies] = {}
        self._threads: list[threading.Thread] = []

    async def __call__(self, question: ToolQuestion, left_s: float, secret: Secret) -> Result:
        target = question.target
        if not isinstance(target, KafkaTarget):
            raise unreachable(question)
        for topic in (target.request_topic, target.reply_topic):
            if not a_services(topic, self._settings.prefix):
                raise Refusal(
                    "bad_topic",
                    f"{topic!r} can be no topic of a service: Weir's own are not, and a name has "
                    "letters, digits, '.', '_' and '-'",
                )
        sent = asyncio.get_running_loop().create_future()
        begun = False
        try:
            async with asyncio.timeout(left_s):
                replies = await self._replies(target)
                with replies.expected(question.idempotency_key) as answered:
                    self._send(question, target, sent)
                    begun = True
                    await asyncio.wait((answered, sent), return_when=asyncio.FIRST_COMPLETED)
                    if not answered.done():
                        sent.result()
                    reply = await answered
        except TimeoutError as error:
            words = f"no answer on {target.reply_topic}" if begun else "Kafka could not be asked"
            raise Refusal("timeout", f"{words} within {left_s:.1f} s", unsure=begun) from error
        if reply.error is not None:
            raise Refusal("tool_error", reply.error[:DETAIL_CHARS])
        return Result(short_enough(reply.text, question.result_chars), reply.ends)

    async def _replies(self, target: KafkaTarget) -> Replies:
        """Those that wait on the reply topic, which is read from here on. Raises Refusal."""
        async with self._lock:
            if self._producer is None:
                self._producer = kafka.producer(self._settings)
            topic = target.reply_topic
            if topic not in self._listening:
                consumer = await asyncio.to_thread(self._listen, topic, target.request_topic)
                self._listening[topic] = Replies()
                loop = asyncio.get_running_loop()
                self._threads.append(
                    threading.Thread(
                        target=self._read,
                        args=(consumer, topic, loop),
                        daemon=True,
                        name=f"replies {topic}",
                    )
                )
                self._threads[-1].start()
            return self._listening[topic]

    def _listen(self, topic: str, request_topic: str) -> Consumer:
        """A consumer that stands at the end of every partition. Raises Refusal."""
        consumer = kafka.consumer(self._settings, "tool-replies", **{"fetch.wait.max.ms": 10})
        try:
            for name in (request_topic, topic):
                if partitions_of(consumer, name) == 0:
                    raise Refusal(
                        "no_topic",
                        f"there is no topic {name!r}: create it, or correct the tool's definition",
                    )
            ends = [
                TopicPartition(
                    topic,
                    nth,
                    consumer.get_watermark_offsets(TopicPartition(topic, nth), LISTEN_S)[1],
                )
                for nth in range(partitions_of(consumer, topic))
            ]
            consumer.assign(ends)
        except KafkaException as error:
            consumer.close()
            raise Refusal("refused", f"Kafka: {error.args[0].str()}", again=True) from error
        except Refusal:
            consumer.close()
            raise
        return consumer

    def _send(
        self, question: ToolQuestion, target: KafkaTarget, sent: asyncio.Future[None]
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
                    Refusal("refused", f"Kafka: {error.str()}", again=True, unsure=unsure)
                )
                sent.exception()  # the time may have been over before

        def delivered(error: KafkaError | None, _message: Message) -> None:
            with contextlib.suppress(
                RuntimeError
            ):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(settle, error)

        key = f"{question.context.get('tenant', '')}/{question.context.get('session', '')}"
        try:
            self._producer.produce(
                target.request_topic,
                question.arguments.encode("utf-8", "replace"),
                key.encode(),
                headers=call_headers(question, target.reply_topic),
                on_delivery=delivered,
            )
            self._producer.poll(0)
        except (KafkaException, BufferError) as error:
            raise Refusal("refused", f"Kafka: {error}", again=True) from error

    def _read(self, consumer: Consumer, topic: str, loop: asyncio.AbstractEventLoop) -> None:
        """The thread of a reply topic, which also hears of what was delivered."""
        replies = self._listening[topic]
        looked_at = time.monotonic()
        while not self._closing.is_set():
            try:
                message = consumer.poll(POLL_S)
                self._producer.poll(0)
                if message is not None and message.error() is None:
                    found = reply_of(message.headers(), message.value())
                    if found:
                        loop.call_soon_threadsafe(replies.take, *found)
                if time.monotonic() - looked_at > GROWN_S:
                    looked_at = time.monotonic()
                    grown = range(len(consumer.assignment()), partitions_of(consumer, topic))
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


def a_services(topic: str, prefix: str) -> bool:
    """Whether a name can be that of a service's topic: Weir's own are written by nobody else."""
    return TOPIC.fullmatch(topic) is not None and not topic.startswith((OWN, prefix + OWN))


def partitions_of(consumer: Consumer, topic: str) -> int:
    """How many a topic has; 0 where there is none."""
    found = consumer.list_topics(topic, LISTEN_S).topics[topic]
    return 0 if found.error is not None else len(found.partitions)
