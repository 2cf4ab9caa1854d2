"""Does a model see whole conversations, though questions carry what is new, and whatever is
forgotten in between?
"""

import asyncio
import random
from datetime import timedelta

import pytest

from processors.agent.conversation.message_deltas import UNKNOWN, WHOLE_CHARS
from schemas.definitions.kinds import Agent, Definitions, Model, Tenant, Tool
from schemas.definitions.limits import Context, Limits
from schemas.events.agent.models import ModelAsked, ModelFailed
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.tracing import SpanEnded
from schemas.events.values import Message, Tokens, ToolRequest
from schemas.ports import ChatAnswer, ChatQuestion, Failure, Impossible, ToolAnswer
from streams.engine.calls.conversation_cache import Conversations, Remembering
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.processors import NOON, ident

SESSION = "long"


class World:
    """A model that calls a tool so many times and then answers, and remembers what it was shown."""

    def __init__(self, turns: int, size: int):
        self.turns, self.size, self.seen = turns, size, []

    def chat(self, question: ChatQuestion) -> ChatAnswer:
        self.seen.append(question.messages)
        assert question.follows == ""
        done = sum(message.role == "tool" for message in question.messages)
        calls = (
            ()
            if done >= self.turns
            else (ToolRequest(id=f"c{done}", name="read", arguments=f'{{"page":{done}}}'),)
        )
        return ChatAnswer(
            "m",
            "p",
            "r",
            "All read." if not calls else None,
            calls,
            "tool_calls" if calls else "stop",
            Tokens(input_tokens=1, output_tokens=1),
            NOON,
            NOON,
        )

    def tool(self, question) -> ToolAnswer:
        return ToolAnswer(f"{question.arguments} {'x' * self.size}", NOON, NOON)


def play(turns=100, size=5_000, forgets=lambda step: False, context=None):
    """A run through the whole pipeline; the memory of conversations is lost before the questions
    that `forgets` says.
    """
    world = World(turns, size)
    given = Definitions.of(
        Tenant(name="t"),
        Model(name="m", provider="p", base_url="http://m", upstream="u"),
        Tool(name="read", url="http://t", effect="pure", parameters={"type": "object"}),
        Agent(
            name="a",
            prompt="Read.",
            model="m",
            tools=("read",),
            context=context,
            limits=Limits(steps=turns + 1, tokens=10**9, seconds=10**6),
        ),
    )

    def chat(question):
        if forgets(len(world.seen)):
            local._conversations = Conversations()
        return world.chat(question)

    local = Local(PIPELINE, given, {"chat": chat, "tool": world.tool, "search": None})
    said = local.send(
        AgentRequested(
            id=ident("r"), at=NOON, tenant="t", agent="a", text="Read it all.", session=SESSION
        )
    )
    local.close()
    return world, said


def only(kind, said):
    return [event for event in said if isinstance(event, kind)]


def bytes_of(said):
    return sum(len(event.model_dump_json()) for event in only(ModelAsked, said))


def test_a_hundred_results_of_5_kb_are_asked_about_in_linear_bytes_and_seen_whole():
    world, said = play()
    [end] = only(RunFinished, said)
    assert (end.outcome, end.model_calls, end.tool_calls) == ("completed", 101, 100)
    assert [len(messages) for messages in world.seen] == [2 + 2 * n for n in range(101)]
    assert all(
        later[: len(earlier)] == earlier
        for earlier, later in zip(world.seen, world.seen[1:], strict=False)
    )
    assert bytes_of(said) < 2.2 * bytes_of(play(50)[1]) < 2_000_000
    assert only(ModelFailed, said) == []


def test_a_short_conversation_is_asked_about_whole():
    _, said = play(turns=3, size=WHOLE_CHARS // 4)
    assert {event.follows for event in only(ModelAsked, said)} == {""}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_forgotten_is_asked_about_whole_and_no_model_is_asked_twice(seed):
    choose = random.Random(seed)
    world, said = play(30, forgets=lambda step: choose.random() < 0.3)
    [end] = only(RunFinished, said)
    failures = only(ModelFailed, said)
    assert failures
    assert {event.reason for event in failures} == {UNKNOWN}
    assert (end.outcome, end.model_calls, end.unpriced_calls, len(world.seen)) == (
        "completed",
        31,
        31,
        31,
    )
    assert [len(messages) for messages in world.seen] == [2 + 2 * n for n in range(31)]
    spans = [span for span in only(SpanEnded, said) if span.operation == "chat"]
    assert len(spans) == 31, "nobody was asked, so there is nothing to trace"


def test_summaries_and_questions_that_follow_get_along():
    world, said = play(60, context=Context(tokens=20_000, recent_turns=3, tool_result_chars=3_000))
    assert only(RunFinished, said)[0].reason == "steps", (
        "this one forgets what it has read, and reads it again until its steps are used up"
    )
    assert only(ModelFailed, said) == []
    assert max(sum(len(m.content or "") for m in messages) for messages in world.seen) < 90_000


def question(follows="", digest="", *texts, session=SESSION):
    return ChatQuestion(
        (),
        tuple(Message(role="user", content=text) for text in texts),
        (),
        None,
        None,
        1_000,
        "k",
        context={"tenant": "t", "session": session},
        follows=follows,
        digest=digest,
    )


def texts(found):
    return "".join(message.content for message in found.messages)


def test_a_question_that_comes_again_after_an_abort_is_known_still():
    memory = Conversations()
    memory.whole(question("", "1", "a"))
    assert texts(memory.whole(question("1", "2", "b"))) == "ab"
    assert texts(memory.whole(question("1", "2", "b"))) == "ab"
    assert texts(memory.whole(question("2", "3", "c"))) == "abc"
    assert texts(memory.whole(question("1", "2b", "x"))) == "ax"
    assert isinstance(memory.whole(question("3", "4", "d")), Impossible), "that way was left"


def test_sessions_are_kept_apart_and_the_oldest_is_forgotten_first():
    memory = Conversations(chars_max=10)
    for session in "pqr":
        memory.whole(question("", "1", "aaaa", session=session))
    assert texts(memory.whole(question("1", "2", "b", session="r"))) == "aaaab"
    assert isinstance(memory.whole(question("1", "2", "b", session="p")), Impossible)


def test_a_call_runners_port_says_that_it_does_not_know():
    async def chat(asked):
        return texts(asked)

    port = Remembering(chat, now=lambda: NOON + timedelta(seconds=1))
    assert asyncio.run(port(question("", "1", "a"))) == "a"
    assert asyncio.run(port(question("1", "2", "b"))) == "ab"
    failed = asyncio.run(port(question("7", "8", "b")))
    assert (type(failed), failed.reason, failed.attempts) == (Failure, UNKNOWN, 0)
