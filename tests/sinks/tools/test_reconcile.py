"""Does a second operation decide what became of a call whose answer was lost, and do limits hold
while it is asked?
"""

import asyncio
from dataclasses import replace

import httpx
import pytest

from schemas.definitions.tools import HttpTarget, Reconcile
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner

LOST = httpx.ReadError("the line went dead")
REFUND = ToolQuestion(
    "refund",
    HttpTarget(url="http://shop/refunds", headers={"authorization": "Bearer env:KEY"}),
    '{"order": "A-1"}',
    5_000,
    1_000,
    "reconcilable",
    "key 1",
    {"tenant": "acme"},
    reconcile=Reconcile(url="http://shop/refunds/{key}"),
)


class Shop:
    """Answers POSTs and GETs each with the next of a list."""

    def __init__(self, posts=(), gets=()):
        self.left = {"POST": list(posts), "GET": list(gets)}
        self.asked = []

    def __call__(self, request):
        self.asked.append(
            f"{request.method} {request.url.raw_path.decode()} {request.headers['idempotency-key']}"
        )
        answer = self.left[request.method].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def done(text="refunded", status=200):
    return httpx.Response(status, text=text)


def ask(shop, question=REFUND, secret={"env:KEY": "sesame-7"}.__getitem__):
    async def run():
        async def sleep(_):
            return None

        async with httpx.AsyncClient(transport=httpx.MockTransport(shop)) as http:
            return await ToolRunner(ToolContext(http, http), secret, runtime=Runtime(sleep=sleep))(
                question
            )

    return asyncio.run(run())


@pytest.mark.parametrize(
    "posts, gets, kind, says, posted",
    [
        ([done()], [], ToolAnswer, "refunded", 1),
        ([LOST], [done("refund 7")], ToolAnswer, "refund 7", 1),
        ([LOST], [done('{"done": true, "result": {"id": 7}}')], ToolAnswer, '{"id": 7}', 1),
        ([LOST, done()], [done("none", 404)], ToolAnswer, "refunded", 2),
        (
            [LOST, LOST, done()],
            [done('{"done": false}'), done("gone", 410)],
            ToolAnswer,
            "refunded",
            3,
        ),
        ([LOST, LOST, LOST], [done("", 404)] * 3, Failure, "not_done", 3),
        (
            [LOST],
            [done("wait", 202), done('{"done": null}'), done("wait", 409), done("7")],
            ToolAnswer,
            "7",
            1,
        ),
        ([LOST], [LOST, done("", 503), done("7")], ToolAnswer, "7", 1),
        ([LOST], [done("who are you?", 401)], Uncertain, "http_401", 1),
        ([done("", 502)], [done("7")], ToolAnswer, "7", 1),
        ([done("", 503), done()], [], ToolAnswer, "refunded", 2),
        ([done("no such order", 400)], [], Failure, "http_400", 1),
    ],
)
def test_after_a_lost_answer(posts, gets, kind, says, posted):
    shop = Shop(posts, gets)
    answer = ask(shop)
    assert isinstance(answer, kind)
    assert (
        says
        in {
            ToolAnswer: lambda: answer.content,
            Failure: lambda: answer.reason,
            Uncertain: lambda: answer.detail,
        }[kind]()
    )
    assert shop.asked.count("POST /refunds key 1") == posted
    assert set(shop.asked) <= {"POST /refunds key 1", "GET /refunds/key%201 key 1"}
    assert shop.left == {"POST": [], "GET": []}


def test_begun_before_a_crash_it_is_asked_about_before_it_is_done():
    shop = Shop(gets=[done("7")])
    assert ask(shop, replace(REFUND, begun=True)).content == "7" and shop.asked == [
        "GET /refunds/key%201 key 1"
    ]
    shop = Shop([done()], [done("", 404)])
    assert ask(shop, replace(REFUND, begun=True)).content == "refunded"
    assert isinstance(ask(Shop(), replace(REFUND, begun=True, reconcile=None)), Uncertain)


def test_the_second_operation_has_headers_of_its_own_too():
    seen = {}

    def shop(request):
        seen.update(request.headers)
        return done("7")

    second = REFUND.reconcile.model_copy(update={"headers": {"x-api-key": "env:KEY"}})
    assert ask(shop, replace(REFUND, begun=True, reconcile=second)).content == "7"
    assert (seen["x-api-key"], seen["authorization"], seen["weir-tenant"]) == (
        "sesame-7",
        "Bearer sesame-7",
        "acme",
    )


def test_a_secret_that_comes_back_is_not_told():
    shop = Shop([done("Bearer sesame-7 may not do this", 403)])
    assert ask(shop).detail == "status 403: Bearer env:KEY may not do this"
    assert ask(Shop([done("hello, sesame-7")])).content == "hello, env:KEY"


def test_what_was_carried_out_is_not_to_be_called_again_for_a_bad_result():
    failure = ask(Shop([done("x" * 2_000)]), replace(REFUND, effect="once"))
    assert (failure.reason, failure.detail.endswith("must not be called again for that")) == (
        "too_large",
        True,
    )
    assert "again" not in ask(Shop([done("x" * 2_000)]), replace(REFUND, effect="pure")).detail


class Endless(httpx.AsyncByteStream):
    """20 MB, counting what was taken of it."""

    taken = 0

    async def __aiter__(self):
        for _ in range(20 * 16):
            self.taken += 65_536
            yield b"y" * 65_536


@pytest.mark.parametrize("status, reason", [(200, "too_large"), (400, "http_400")])
def test_of_twenty_megabytes_no_more_is_read_than_the_limit(status, reason):
    body = Endless()
    failure = ask(
        Shop([httpx.Response(status, stream=body, headers={"content-type": "text/plain"})])
    )
    assert failure.reason == reason and body.taken == 65_536


def test_no_more_calls_of_a_tool_are_under_way_than_it_allows():
    under_way = []
    most = []

    async def shop(request):
        under_way.append(request)
        most.append(len(under_way))
        await asyncio.sleep(0.005)
        under_way.pop()
        return done()

    async def run(question):
        async with httpx.AsyncClient(transport=httpx.MockTransport(shop)) as http:
            port = ToolRunner(ToolContext(http, http), lambda _: "sesame-7")
            return await asyncio.gather(*(port(question) for _ in range(6)))

    assert all(
        isinstance(answer, ToolAnswer)
        for answer in asyncio.run(run(replace(REFUND, concurrency=2)))
    )
    assert max(most) == 2
    hurried = asyncio.run(
        run(replace(REFUND, concurrency=1, timeout_ms=8, effect="once", reconcile=None))
    )
    assert "busy" in {answer.reason for answer in hurried if isinstance(answer, Failure)}


def test_a_tool_that_fails_again_and_again_is_left_alone_and_then_tried_once():
    """Its breaker: ten calls of which most failed, five seconds, one probe."""

    class Clock(asyncio.SelectorEventLoop):
        ahead = 0.0

        def time(self):
            return super().time() + self.ahead

    shop = Shop([done("", 500)] * 10 + [done("no", 400)] + [done("", 500)] + [done("back")] * 2)
    question = replace(REFUND, effect="once", reconcile=None)

    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(shop)) as http:
            port = ToolRunner(
                ToolContext(http, http), lambda _: "sesame-7", runtime=Runtime(worker="calls-1")
            )
            answers = [await port(question) for _ in range(12)]
            other = await port(replace(question, tool="other"))
            for ahead in (6, 20, 0):
                Clock.ahead += ahead
                answers.append(await port(question))
            return answers, other

    loop = Clock()
    try:
        answers, other = loop.run_until_complete(run())
    finally:
        loop.close()
    said = [getattr(answer, "reason", "answered") for answer in answers]
    assert said == ["http_500"] * 10 + ["breaker_open"] * 2 + ["http_500", "answered", "answered"]
    assert other.reason == "http_400"
    assert [[(one.state, one.open_ms) for one in answer.moved] for answer in answers] == [
        *[[]] * 9,
        [("open", 5_000)],
        [],
        [],
        [("half_open", 0), ("open", 10_000)],
        [("half_open", 0), ("closed", 0)],
        [],
    ]
    assert {(one.kind, one.name, one.runner) for answer in answers for one in answer.moved} == {
        ("tool", "refund", "calls-1")
    }
