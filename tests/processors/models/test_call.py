"""Are models, tools and searches asked what the events say, and are their answers told as they
were?
"""

from dataclasses import replace

import pytest

from processors.knowledge import retrieve
from processors.models import call as model
from processors.tools import call as tools
from schemas.definitions.kinds import Model
from schemas.definitions.tools import HttpTarget
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.agent.runs import (
    Passage,
    PassagesAsked,
    PassagesFound,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.events.values import Message, Tokens
from schemas.ports import (
    ChatAnswer,
    Failure,
    Impossible,
    Moved,
    SearchAnswer,
    SearchQuestion,
    ToolAnswer,
    Uncertain,
)
from tests.support.processors import MODEL, at, call, company, of_run

GIVEN = company()
ASKED = of_run(
    ModelAsked,
    "1",
    step=1,
    model="small",
    fallback=("spare", "gone"),
    user="ada",
    messages=(Message(role="user", content="hi"),),
    timeout_ms=9_000,
)
CALLED = of_run(
    ToolCalled,
    "1",
    step=1,
    call="c1",
    tool="lookup",
    tool_version=1,
    arguments='{"order":"A-1"}',
    effect="pure",
)
SOUGHT = of_run(PassagesAsked, "1", step=1, call="c1", tool="search", query="zips", limit=3)
FAILURE = Failure("timeout", "no answer in 9 s", at(0), at(9), attempts=3, model="spare")


def chat_answer(**fields):
    return ChatAnswer(
        **(
            {
                "endpoint": "small",
                "provider": "openai",
                "response_model": "gpt-4o-mini-2024-07-18",
                "content": "hello",
                "tool_calls": (),
                "finish_reason": "stop",
                "started_at": at(0),
                "tokens": Tokens(input_tokens=1_000_000),
                "at": at(1.5),
            }
            | fields
        )
    )


def test_a_model_is_asked_with_its_fallbacks_and_the_events_id_as_key():
    spare = Model(
        name="spare", provider="mistral", base_url="http://b/v1", upstream="m", api_key="env:KEY"
    )
    question = model.ask(ASKED, company(spare))
    assert [(e.name, e.upstream, e.api_key) for e in question.endpoints] == [
        ("small", "gpt-4o-mini", None),
        ("spare", "m", "env:KEY"),
    ]
    assert (question.idempotency_key, question.messages, question.timeout_ms) == (
        str(ASKED.id),
        ASKED.messages,
        9_000,
    )
    assert question.context["traceparent"].split("-")[1] == ASKED.run.hex
    assert model.ask(ASKED.then(ModelAsked, "x", model="gone", fallback=()), GIVEN) == Impossible(
        "unknown_model",
        "no model or route 'gone' is defined: apply it, or change the agent's model",
    )


def test_an_answer_is_priced_and_told():
    [said] = model.tell(ASKED, chat_answer(), GIVEN)
    assert isinstance(said, ModelResponded)
    assert (said.cost_usd, said.wait_ms, said.at, said.fell_back, said.user, said.step) == (
        2,
        1_500,
        at(1.5),
        False,
        "ada",
        1,
    )
    [said] = model.tell(
        ASKED, chat_answer(endpoint="spare", provider="nobody", response_model="none"), GIVEN
    )
    assert (said.cost_usd, said.fell_back, said.model) == (None, True, "spare")


@pytest.mark.parametrize(
    "odd",
    [
        {"content": "half \ud83d of it"},
        {"response_model": "x" * 999},
        {"finish_reason": "y" * 999},
        {"at": at(-5)},
        {
            "tokens": Tokens(
                input_tokens=2**53,
                cached_input_tokens=2**53,
                cache_write_tokens=2**53,
                output_tokens=2**53,
            )
        },
        {"tool_calls": (call("", "", ""),)},
        {"content": ""},
    ],
)
def test_whatever_a_model_answers_can_be_told(odd):
    [said] = model.tell(ASKED, chat_answer(**odd), GIVEN)
    assert isinstance(said, ModelResponded)
    assert said.wait_ms >= 0


def test_a_failure_of_a_model_is_told():
    [said] = model.tell(ASKED, FAILURE, GIVEN)
    assert isinstance(said, ModelFailed)
    assert (said.reason, said.model, said.attempts, said.wait_ms) == ("timeout", "spare", 3, 9_000)


def test_a_tool_is_asked_in_the_version_of_the_run():
    question = tools.ask(CALLED, GIVEN)
    assert question.target == HttpTarget(url="http://tools/lookup", method="POST")
    assert question.arguments == '{"order":"A-1"}'
    assert (question.idempotency_key, question.effect, question.shown_chars) == (
        str(CALLED.id),
        "pure",
        100_000,
    )
    assert question.context | {"tenant": "acme", "session": "s", "call": "c1"} == question.context


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"tool_version": 9}, "unknown_tool"),
        ({"tool": "none"}, "unknown_tool"),
        ({"arguments": '{"order":1}'}, "invalid_arguments"),
        ({"arguments": "nonsense"}, "invalid_arguments"),
    ],
)
def test_what_must_not_be_called_is_not(fields, reason):
    impossible = tools.ask(CALLED.then(ToolCalled, "x", **fields), GIVEN)
    assert isinstance(impossible, Impossible)
    assert impossible.reason == reason


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ToolAnswer("ok \udc80", at(0), at(1), ends=True), ToolReturned),
        (FAILURE, ToolFailed),
        (Uncertain("started before a crash", at(0), at(1)), ToolUncertain),
    ],
)
def test_what_became_of_a_call_is_told(answer, kind):
    [said] = tools.tell(CALLED, answer, GIVEN)
    assert type(said) is kind
    assert (said.call, said.step, said.tool, said.run) == ("c1", 1, "lookup", CALLED.run)
    assert not isinstance(said, ToolReturned) or said.ends


@pytest.mark.parametrize(
    ("step", "asked", "answer"),
    [
        (model, ASKED, chat_answer()),
        (model, ASKED, FAILURE),
        (tools, CALLED, ToolAnswer("{}", at(0), at(1))),
        (tools, CALLED, FAILURE),
        (tools, CALLED, Uncertain("lost", at(0), at(1))),
    ],
)
def test_breakers_that_moved_are_told_with_the_answer(step, asked, answer):
    moved = (
        Moved("model", "stub", "small", "half_open", at(1)),
        Moved("model", "stub", "small", "open", at(2), 10_000, "calls-0"),
    )
    _, *told = step.tell(asked, replace(answer, moved=moved), GIVEN)
    assert [(one.name, one.state, one.open_ms, one.runner, one.at) for one in told] == [
        ("small", "half_open", 0, "", at(1)),
        ("small", "open", 10_000, "calls-0", at(2)),
    ]
    assert len({one.id for one in told}) == 2 and {one.cause for one in told} == {asked.id}


def test_a_search_is_of_the_events_tenant():
    assert retrieve.ask(SOUGHT) == SearchQuestion("acme", "zips", 3)
    assert isinstance(retrieve.ask(SOUGHT.then(PassagesAsked, "x", query="  ")), Impossible)
    passages = (Passage(document="d", nth=0, text="t", score=1),)
    [found] = retrieve.tell(SOUGHT, SearchAnswer(passages, at(0), at(1)))
    assert (type(found), found.passages, found.wait_ms) == (PassagesFound, passages, 1_000)
    [failed] = retrieve.tell(SOUGHT, FAILURE)
    assert (type(failed), failed.reason) == (ToolFailed, "timeout")


def test_the_definition_that_answered_sets_the_price():
    dear = MODEL.model_copy(
        update={"name": "spare", "price": MODEL.price.model_copy(update={"input": 200})}
    )
    assert model.tell(ASKED, chat_answer(endpoint="spare"), company(dear))[0].cost_usd == 200


@pytest.mark.parametrize(
    "returns, content, wrong",
    [
        ({"type": "object", "required": ["status"]}, '{"status": "sent"}', ""),
        (
            {"type": "object", "properties": {"n": {"type": "integer"}}},
            '{"n": "many"}',
            "$.n: 'many' is not of type",
        ),
        ({"type": "object"}, "no JSON", "$: 'no JSON' is not of type 'object'"),
        ({"type": "string"}, "in words", ""),
        ({"type": "string"}, "42", ""),
        ({"type": "integer"}, "42", ""),
        ({"type": "nothing"}, "42", "cannot be used"),
    ],
)
def test_a_result_is_held_to_what_the_tool_returns(returns, content, wrong):
    tool = GIVEN.tool("lookup").model_copy(update={"returns": returns})
    [said] = tools.tell(CALLED, ToolAnswer(content, at(0), at(1)), company(tool))
    assert (
        (said.reason, wrong in said.detail) == ("bad_result", True)
        if wrong
        else said.content == content
    )
    [said] = tools.tell(
        CALLED.then(ToolCalled, "x", effect="once"),
        ToolAnswer(content, at(0), at(1)),
        company(tool),
    )
    assert not wrong or "must not be called again" in said.detail
