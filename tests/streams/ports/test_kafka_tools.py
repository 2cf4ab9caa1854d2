"""Does an answer on a topic find the call that it belongs to, whatever else is said there?"""

import asyncio
import threading

import httpx
import pytest
from confluent_kafka.admin import NewTopic

from schemas.definitions.tools import KafkaTarget
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.config import Settings
from streams.engine import kafka
from streams.ports.kafka_tools import KafkaTools, ReplyWaiters, ServiceReply, call_headers, reply_of


def question(
    request="orders",
    reply="answers",
    arguments='{"n": 1}',
    effect="once",
    key="key-1",
    timeout_ms=8_000,
):
    return ToolQuestion(
        "orders",
        KafkaTarget(request_topic=request, reply_topic=reply),
        arguments,
        timeout_ms,
        100,
        effect,
        key,
        {"tenant": "acme", "session": "ä", "traceparent": "00-1"},
    )


def test_a_call_says_who_asks_and_where_to_answer():
    headers = dict(call_headers(question(), "answers"))
    assert (
        headers["correlation-id"]
        == headers["idempotency-key"]
        == headers["kafka_correlationId"]
        == b"key-1"
    )
    assert headers["reply-topic"] == headers["kafka_replyTopic"] == b"answers"
    assert (headers["weir-session"], headers["traceparent"]) == (b"%C3%A4", b"00-1")


@pytest.mark.parametrize(
    "headers, value, found",
    [
        ([("correlation-id", b"k")], b"it is done", ("k", ServiceReply("it is done"))),
        ([("kafka_correlationId", b"k"), ("x", None)], None, ("k", ServiceReply(""))),
        (
            [("Correlation-Id", b"k"), ("error", b"no coats"), ("weir-ends", b"true")],
            b"{}",
            ("k", ServiceReply("{}", "no coats", True)),
        ),
        ([("correlation-id", b"k"), ("error", b"")], b"why", ("k", ServiceReply("why", "why"))),
        (
            [("correlation-id", b"k"), ("error", None)],
            None,
            ("k", ServiceReply("", "the service says that it failed, and not why")),
        ),
        ([("correlation-id", b"")], b"x", None),
        ([("other", b"k")], b"x", None),
        (None, b"x", None),
        ([("correlation-id", b"\xff")], b"\xff", ("\ufffd", ServiceReply("\ufffd"))),
    ],
)
def test_whose_answer_a_record_is(headers, value, found):
    assert reply_of(headers, value) == found


def test_the_first_answer_counts_and_those_of_nobody_do_no_harm():
    async def run():
        replies = ReplyWaiters()
        with (
            replies.expected("a") as one,
            replies.expected("a") as again,
            replies.expected("b") as other,
        ):
            for key, text in (("c", "x"), ("a", "first"), ("a", "second")):
                replies.take(key, ServiceReply(text))
            assert (await one).text == (await again).text == "first" and not other.done()
        replies.take("b", ServiceReply("late"))
        return replies._waiting

    assert asyncio.run(run()) == {}


@pytest.mark.parametrize(
    "topic", ["weir.agent.run-finished", "t1.weir.agent.run-finished", "a b", "x" * 250]
)
def test_a_topic_of_weirs_own_is_refused(topic):
    async def run():
        return await ToolRunner(
            ToolContext(httpx.AsyncClient(), httpx.AsyncClient()),
            str,
            kinds={"kafka": KafkaTools(Settings(prefix="t1."))},
        )(question(request=topic))

    failure = asyncio.run(run())
    assert isinstance(failure, Failure) and failure.reason == "bad_topic"


def test_without_kafka_nothing_was_asked():
    async def run():
        return await ToolRunner(
            ToolContext(httpx.AsyncClient(), httpx.AsyncClient()),
            str,
            kinds={"kafka": KafkaTools(Settings(kafka_port=1), metadata_s=0.1)},
        )(question(timeout_ms=60))

    failure = asyncio.run(run())
    assert (
        isinstance(failure, Failure)
        and failure.reason == "timeout"
        and "could not be asked" in failure.detail
    )


@pytest.mark.engine
def test_a_service_answers_over_kafka(own_settings):
    requests = own_settings.prefix + "orders"
    answers = own_settings.prefix + "answers"
    admin = kafka.admin(own_settings)
    [
        future.result(20)
        for future in admin.create_topics([NewTopic(requests, 2), NewTopic(answers, 3)]).values()
    ]
    over = threading.Event()

    def serve():
        reader = kafka.consumer(own_settings, "service")
        writer = kafka.producer(own_settings)
        reader.subscribe([requests])
        while not over.is_set():
            message = reader.poll(0.05)
            if message is None or message.error():
                continue
            if b"silent" in message.value():
                continue
            given = dict(message.headers())
            failed = [("error", b"no coats")] if b"coat" in message.value() else []
            for _ in range(2):
                writer.produce(
                    given["reply-topic"].decode(),
                    b"got " + message.value(),
                    headers=[("correlation-id", given["correlation-id"]), *failed],
                )
            writer.flush()
        reader.close()

    async def run():
        tools = KafkaTools(own_settings)
        port = ToolRunner(
            ToolContext(httpx.AsyncClient(), httpx.AsyncClient()), str, kinds={"kafka": tools}
        )
        try:
            several = await asyncio.gather(
                *(
                    port(question(requests, answers, f'{{"n": {n}}}', key=f"key-{n}"))
                    for n in range(20)
                )
            )
            return (
                several,
                await port(question(requests, answers, '"coat"')),
                await port(question(requests, answers, '"silent"', key="lost", timeout_ms=200)),
                await port(question(requests, answers, '"silent"', "pure", "late", timeout_ms=200)),
                await port(question(requests, own_settings.prefix + "nowhere")),
            )
        finally:
            tools.close()

    service = threading.Thread(target=serve)
    service.start()
    try:
        several, failed, lost, late, nowhere = asyncio.run(run())
    finally:
        over.set()
        service.join()
    assert [type(one) is ToolAnswer and one.content for one in several] == [
        f'got {{"n": {n}}}' for n in range(20)
    ]
    assert (failed.reason, failed.detail) == ("tool_error", "no coats")
    assert isinstance(lost, Uncertain) and isinstance(late, Failure) and late.reason == "timeout"
    assert nowhere.reason == "no_topic"
