"""Does a question go through its endpoints as its route says: breakers, hedges, checks, budgets of
time?
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from schemas.definitions.routes import Check
from schemas.events.values import Message, Tokens
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint, Failure, Ways
from sinks.circuit_breaker import OPEN_S
from sinks.http import CallError
from sinks.models.client import ModelClient
from sinks.runtime import Runtime
from tests.support.virtual_time import Virtual

TOKENS = Tokens(input_tokens=10, output_tokens=2)
SAID = {
    "response_model": "m",
    "content": "hello",
    "tool_calls": (),
    "finish_reason": "stop",
    "tokens": TOKENS,
}
FREE = CallError("http_503", "busy", retryable=True)

CHECK = Check(min_chars=3)


class World:
    """Models that do what a script says: by name a list of (seconds, answer or Refusal), the last
    one again and again. A text is an answer; a text in brackets is streamed, and heard as it comes.
    """

    def __init__(self, **scripts):
        self.scripts = scripts
        self.asked = []
        self.heard = []
        self.virtual = Virtual()
        self.meter = Meter()
        self.port = ModelClient(
            self.ask,
            runtime=Runtime(now=self.now, chance=lambda: 0.5, meter=self.meter, worker="calls-0"),
            listener_of=self.hearing,
            check_answer=too_short,
        )

    def now(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.virtual.loop.time())

    def hearing(self, _question, nth):
        return lambda text, last: self.heard.append((nth, text))

    async def ask(self, endpoint, _question, left_s, hear):
        self.asked.append((endpoint.name, round(self.virtual.loop.time(), 3)))
        script = self.scripts[endpoint.name]
        seconds, outcome = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(outcome, list):
            hear("part", False)
        try:
            async with asyncio.timeout(left_s):
                await asyncio.sleep(seconds)
        except TimeoutError as error:
            raise CallError(
                "timeout", f"no answer within {left_s:.1f} s", uncertain=True
            ) from error
        if isinstance(outcome, CallError):
            raise outcome
        if isinstance(outcome, list):
            hear(outcome[-1], True)
            outcome = outcome[-1]
        return SAID | {"content": outcome}

    def chat(self, *names, timeout_ms=60_000, each_ms=10_000, **ways):
        endpoints = tuple(
            Endpoint(name, "stub", "http://x", name, timeout_ms=each_ms) for name in names
        )
        return self.virtual.run(
            self.port(
                ChatQuestion(
                    endpoints,
                    (Message(role="user", content="hi"),),
                    (),
                    None,
                    None,
                    timeout_ms,
                    "k",
                    ways=Ways("r", **ways),
                )
            )
        )

    def took(self, answer):
        return (answer.at - answer.started_at).total_seconds()


class Meter:
    def __init__(self):
        self.counts = []
        self.gauges = {}

    def count(self, name, by=1, **labels):
        self.counts.append((name, *labels.values()))

    def gauge(self, name, value, **labels):
        self.gauges[labels["model"]] = value


def ledger(answer):
    return [(t.endpoint, t.reason, t.wasted, t.hedge) for t in answer.tried]


def test_a_first_model_that_hangs_leaves_the_next_its_time():
    world = World(a=[(1_000, "late")], b=[(3, "b")])
    answer = world.chat("a", "b", timeout_ms=14_000)
    assert (answer.content, answer.preferred, world.took(answer)) == ("b", "a", 13.0)
    assert ledger(answer) == [("a", "timeout", True, False), ("b", "", False, False)]
    assert [t.unsure for t in answer.tried] == [True, True] and answer.tried[1].tokens == TOKENS


@pytest.mark.parametrize(
    ("script", "asked", "seconds"),
    [
        ([(0, FREE), (0, "a")], 2, 0.25),
        ([(0, FREE)], 4, 0.75),
        ([(0, CallError("http_429", "", retryable=True, retry_after_s=4.0)), (0, "a")], 2, 4.0),
        (
            [(0, CallError("http_429", "", retryable=True, retry_after_s=11.0))],
            2,
            0.0,
        ),  # longer than its time: the next one
        ([(0, CallError("http_400", "bad"))], 2, 0.0),
        ([(0, CallError("http_401", "key"))], 2, 0.0),
    ],
)
def test_retries_and_what_is_not_retried(script, asked, seconds):
    world = World(a=script, b=[(0, "b")])
    answer = world.chat("a", "b")
    assert (answer.attempts, len(answer.tried), world.took(answer)) == (asked, asked, seconds)


def test_the_runs_time_ends_everything():
    world = World(a=[(1_000, "x")], b=[(1_000, "x")])
    failure = world.chat("a", "b", timeout_ms=12_000)
    assert isinstance(failure, Failure) and (
        failure.reason,
        failure.model,
        world.took(failure),
    ) == ("timeout", "b", 12.0)
    assert ledger(failure) == [("a", "timeout", True, False), ("b", "timeout", True, False)]


def test_what_was_asked_before_a_crash_may_be_billed_and_is_in_the_ledger():
    world = World(a=[(1, "a")])
    question = ChatQuestion(
        (Endpoint("a", "stub", "", "a"),), (), (), None, None, 60_000, "k", again=True
    )
    answer = world.virtual.run(world.port(question))
    assert ledger(answer) == [("a", "abandoned", True, False), ("a", "", False, False)]
    assert (answer.attempts, answer.tried[0].unsure, answer.tried[0].tokens, len(world.asked)) == (
        2,
        True,
        None,
        1,
    )


def test_an_open_breaker_is_skipped_at_once_and_probed_once():
    world = World(a=[(0, FREE)] * 10 + [(2, "a again")], b=[(0, "b")])
    while world.meter.gauges.get("a") != 1:
        answer = world.chat("a", "b")
        assert answer.content == "b"
    assert [
        (one.kind, one.provider, one.name, one.state, one.open_ms, one.runner)
        for one in answer.moved
    ] == [("model", "stub", "a", "open", 5_000, "calls-0")]
    assert sum(name == "a" for name, _ in world.asked) == 10
    for _ in range(5):
        answer = world.chat("a", "b")
        assert (answer.attempts, answer.content, answer.preferred, answer.moved) == (
            1,
            "b",
            "a",
            (),
        )
    world.virtual.run(asyncio.sleep(OPEN_S))

    async def three_at_once():
        endpoints = (Endpoint("a", "stub", "", "a"), Endpoint("b", "stub", "", "b"))
        question = ChatQuestion(endpoints, (), (), None, None, 60_000, "k")
        return await asyncio.gather(*(world.port(question) for _ in range(3)))

    assert sorted(answer.content for answer in world.virtual.run(three_at_once())) == [
        "a again",
        "b",
        "b",
    ]
    assert world.meter.gauges["a"] == 0 and world.chat("a", "b").content == "a again"


def test_where_all_breakers_are_open_it_says_what_to_do():
    world = World(a=[(0, FREE)])
    for _ in range(4):
        world.chat("a")
    failure = world.chat("a")
    assert (failure.reason, failure.attempts, failure.tried) == ("breaker_open", 0, ())
    assert (
        "a failed too often and is not called for" in failure.detail
        and "fallback" in failure.detail
    )


@pytest.mark.parametrize(
    "failure",
    [
        CallError("http_400", ""),
        CallError("http_401", ""),
        CallError("no_secret", ""),
        CallError("too_large", ""),
    ],
)
def test_our_own_mistakes_open_no_breaker(failure):
    world = World(a=[(0, failure)])
    assert [world.chat("a").reason for _ in range(30)] == [failure.reason] * 30


def test_what_had_too_little_time_opens_no_breaker():
    world = World(a=[(1_000, "x")])
    assert {world.chat("a", timeout_ms=100).reason for _ in range(30)} == {"timeout"}


def test_after_a_while_the_next_is_asked_too_and_the_first_good_answer_wins():
    world = World(a=[(9, "a")], b=[(1, "b")])
    answer = world.chat("a", "b", hedge_ms=500, hedge_budget=1)
    assert (answer.content, world.took(answer), world.asked) == ("b", 1.5, [("a", 0.0), ("b", 0.5)])
    assert ledger(answer) == [("a", "cancelled", True, False), ("b", "", False, True)]
    assert answer.tried[0].unsure and answer.tried[0].wait_ms == 1_500


def test_the_slow_one_may_still_win():
    world = World(a=[(1, "a")], b=[(5, "b")])
    answer = world.chat("a", "b", hedge_ms=500, hedge_budget=1)
    assert (answer.content, world.took(answer)) == ("a", 1.0)
    assert ledger(answer) == [("a", "", False, False), ("b", "cancelled", True, True)]


def test_of_two_good_answers_at_once_one_is_late_and_its_tokens_are_known():
    world = World(a=[(1.5, "a")], b=[(1, "b")])
    answer = world.chat("a", "b", hedge_ms=500, hedge_budget=1)
    late = [t for t in answer.tried if t.wasted]
    assert [t.reason for t in late] in (["late"], ["cancelled"]) and sum(
        not t.wasted for t in answer.tried
    ) == 1


def test_a_hedge_that_fails_leaves_the_first_alone_and_a_first_that_fails_leaves_the_hedge():
    world = World(a=[(2, "a")], b=[(0, CallError("http_400", ""))])
    assert world.chat("a", "b", hedge_ms=500, hedge_budget=1).content == "a"
    world = World(a=[(1, CallError("http_400", ""))], b=[(2, "b")])
    answer = world.chat("a", "b", hedge_ms=500, hedge_budget=1)
    assert (answer.content, world.took(answer)) == ("b", 2.5)


def test_hedges_stay_within_their_share():
    world = World(a=[(1, "a")], b=[(1, "b")])
    answers = [world.chat("a", "b", hedge_ms=500, hedge_budget=0.1) for _ in range(100)]
    hedged = [any(t.hedge for t in answer.tried) for answer in answers]
    assert [nth for nth, one in enumerate(hedged, 1) if one] == list(range(10, 101, 10))


def test_hedges_stay_within_their_share_of_all_questions_however_many_ask():
    """Three processes, one of which is started anew again and again."""
    asked = hedged = 0
    for questions in (5, 9, 19, 27, 100):
        world = World(a=[(1, "a")], b=[(1, "b")])
        hedged += sum(
            t.hedge
            for _ in range(questions)
            for t in world.chat("a", "b", hedge_ms=500, hedge_budget=0.1).tried
        )
        asked += questions
    assert hedged == 1 + 2 + 10 <= 0.1 * asked


def test_who_is_heard_first_is_the_only_one_heard():
    world = World(a=[(9, "a")], b=[(3, ["begun", "b"])], c=[(0, "c")])
    answer = world.chat("a", "b", "c", hedge_ms=500, hedge_budget=1)
    assert (answer.content, world.heard) == ("b", [(2, "part"), (2, "b")])
    world = World(a=[(3, ["begun", "a"])], b=[(0, "b")])
    answer = world.chat(
        "a", "b", hedge_ms=500, hedge_budget=1
    )  # no rival to one that is being read
    assert (answer.content, [name for name, _ in world.asked]) == ("a", ["a"])


def test_after_the_first_word_there_is_no_fallback():
    world = World(a=[(1, CallError("truncated", "", partial=True))], b=[(0, "b")])
    assert world.chat("a", "b").reason == "truncated"


def test_what_breaks_off_before_anybody_heard_it_has_a_fallback():
    world = World(a=[(1, CallError("truncated", "", partial=True))], b=[(0, "b")])
    assert world.chat("a", "b", checked=1, check=CHECK).content == "b"


def too_short(_check, answer: ChatAnswer):
    return "too short" if len(answer.content) < 3 else None


def test_a_cascade_goes_on_while_an_answer_does_not_stand_the_check():
    world = World(a=[(1, ["begun", "ab"])], b=[(2, "good")])
    answer = world.chat("a", "b", checked=1, check=CHECK)
    assert (answer.content, world.took(answer), world.heard) == ("good", 3.0, [])
    assert ledger(answer) == [("a", "check_failed", True, False), ("b", "", False, False)]
    assert answer.tried[0].tokens == TOKENS  # wasted, and to be paid


def test_a_cheap_answer_that_stands_the_check_is_taken():
    world = World(a=[(1, "abc")], b=[(2, "good")])
    assert world.chat("a", "b", checked=1, check=CHECK).attempts == 1


def test_the_last_one_of_a_cascade_is_taken_as_it_is_and_where_it_fails_nothing_is():
    world = World(a=[(1, "a")], b=[(2, "b")])
    assert world.chat("a", "b", checked=1, check=CHECK).content == "b"
    assert World(a=[(1, "a")]).chat("a", checked=1, check=CHECK).content == "a"
    failure = World(a=[(1, "a")], b=[(2, CallError("http_400", ""))]).chat(
        "a", "b", checked=1, check=CHECK
    )
    assert failure.reason == "http_400" and ledger(failure)[0] == ("a", "check_failed", True, False)


def test_by_latency_the_fastest_is_asked_first_and_fallbacks_keep_their_place():
    world = World(a=[(3, "a")], b=[(1, "b")], c=[(0.1, "c")])
    assert [world.chat("a", "b", "c", measured=2).content for _ in range(6)] == [
        "a",
        "b",
        "b",
        "b",
        "b",
        "b",
    ]
    world.virtual.run(asyncio.sleep(400))  # what was measured long ago is forgotten
    assert world.chat("a", "b", "c", measured=2).content == "a"


def test_a_question_given_up_gives_up_all_that_is_asked_for_it():
    world = World(a=[(50, "a")], b=[(50, "b")])

    async def cut_short():
        endpoints = tuple(Endpoint(name, "stub", "", name) for name in "ab")
        question = ChatQuestion(
            endpoints, (), (), None, None, 60_000, "k", ways=Ways("r", hedge_ms=500)
        )
        task = asyncio.ensure_future(world.port(question))
        await asyncio.sleep(2)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), len(asyncio.all_tasks())

    assert world.virtual.run(cut_short()) == (True, 1)
    assert ("weir_model_attempts", "a", "cancelled") in world.meter.counts
