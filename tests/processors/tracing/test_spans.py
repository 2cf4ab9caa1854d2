"""Do the spans of a run make one tree, with the times, the errors and the costs that its events
had?
"""

from collections import deque

import pytest

from processors.guardrails.screen import screen_request, screen_response, screen_result
from processors.tracing.spans import PREVIEW_CHARS, RUNS_MAX, Open, trace
from schemas.events.agent.approvals import ApprovalResolved
from schemas.events.agent.models import ModelFailed, ModelResponded
from schemas.events.agent.runs import (
    Passage,
    PassagesFound,
    RequestAdmitted,
    RequestBlocked,
    RunFinished,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.events.guardrails import VerdictReached
from tests.support.processors import (
    AGENT,
    at,
    call,
    company,
    failed,
    ident,
    of_run,
    of_tool,
    responded,
)

SCREENS = {
    RequestAdmitted: screen_request,
    ModelResponded: screen_response,
    (ToolReturned, PassagesFound): screen_result,
}
CARD = "4111 1111 1111 1111"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def run_of(*events, given=company(AGENT.model_copy(update={"policy": None}))):
    """The state and the spans after these events, screened as the stage does it."""
    state, spans, queue = Open(), [], deque(events)
    while queue:
        event = queue.popleft()
        state, more = trace(state or Open(), event)
        spans += more
        for kinds, screen in SCREENS.items():
            if isinstance(event, kinds):
                queue.extendleft(reversed(screen(event, given)))
    return state, spans


def admitted(run="r1", **fields):
    return of_run(RequestAdmitted, run, run, **({"text": "Where is A-1?", "user": "ada"} | fields))


def finished(run="r1", outcome="completed", **fields):
    return of_run(
        RunFinished,
        run,
        run,
        9,
        outcome=outcome,
        started_at=at(0),
        wait_ms=9_000,
        text="Where is A-1?",
        answer="Sent.",
        model="small",
        cost_usd="0.5",
        **fields,
    )


def verdict():
    return of_run(
        VerdictReached,
        "1",
        seconds=0,
        stage="request",
        policy="guard",
        policy_version=1,
        rule="card",
        category="card",
        action="redact",
        enforced=True,
        findings=2,
    )


def test_a_run_is_one_tree():
    state, spans = run_of(
        admitted(),
        verdict(),
        responded(calls=(call("lookup", '{"order":"A-1"}'),), seconds=1),
        of_tool(ToolReturned, content='{"status":"sent"}', seconds=2),
        responded(step=2, content="Sent.", seconds=4),
        finished(),
    )
    assert [span.name for span in spans] == [
        "admission",
        "guardrail card",
        "chat small",
        "execute_tool lookup",
        "chat small",
        "invoke_agent support",
    ]
    root = spans[-1]
    assert {span.trace for span in spans} == {ident("r1").hex}
    assert {span.parent for span in spans[:-1]} == {root.span}
    assert root.parent is None
    assert len({span.span for span in spans}) == len({span.id for span in spans}) == 6
    assert state is None


def test_a_span_carries_its_steps_times_texts_and_cost():
    _, (_, chat, tool, answer, root) = run_of(
        admitted(),
        responded(calls=(call("lookup", '{"order":"A-1"}'),), seconds=1),
        of_tool(ToolReturned, content='{"status":"sent"}', seconds=2),
        responded(step=2, content="Sent.", seconds=4),
        finished(),
    )
    assert (chat.input, chat.output) == ("Where is A-1?", 'lookup({"order":"A-1"})')
    assert (tool.input, tool.output, tool.tool) == (
        '{"order":"A-1"}',
        '{"status":"sent"}',
        "lookup",
    )
    assert (answer.input, answer.output, answer.step) == ('{"status":"sent"}', "Sent.", 2)
    assert (
        chat.started_at,
        chat.at,
        chat.wait_ms,
        chat.provider,
        chat.request_model,
        chat.response_model,
    ) == (at(0), at(1), 1_000, "openai", "small", "gpt-4o-mini")
    assert (str(chat.cost_usd), chat.tokens.input_tokens, chat.user, chat.status) == (
        "0.001",
        10,
        "ada",
        "ok",
    )
    assert (root.cost_usd, root.tokens.input_tokens) == (
        None,
        0,
    )  # only leaves carry them: sums are right
    assert (root.started_at, root.wait_ms, root.input, root.output) == (
        at(0),
        9_000,
        "Where is A-1?",
        "Sent.",
    )


@pytest.mark.parametrize(
    ("event", "operation", "error"),
    [
        (failed(reason="http_500"), "chat", "http_500"),
        (of_tool(ToolFailed, reason="timeout", detail="9 s"), "execute_tool", "timeout"),
        (of_tool(ToolUncertain, detail="crashed"), "execute_tool", "uncertain"),
        (of_run(RequestBlocked, "1", rule="secret"), "guardrail", "blocked"),
        (finished(outcome="stopped", reason="steps"), "invoke_agent", "steps"),
        (finished(outcome="cancelled"), "invoke_agent", "cancelled"),
    ],
)
def test_what_went_wrong_is_an_error(event, operation, error):
    _, [_, span] = run_of(admitted(), event)
    assert (span.operation, span.status, span.error_type) == (operation, "error", error)


def test_a_search_is_a_retrieval_with_its_sources():
    found = of_tool(
        PassagesFound,
        tool="search",
        passages=(Passage(document="faq.md", nth=2, title="Refunds", text="…", score=0.91234),),
    )
    _, [_, span] = run_of(admitted(), found)
    assert (span.name, span.output) == ("retrieval search", "faq.md#2 Refunds (0.912)")


def test_a_callers_trace_goes_on():
    _, (admission, root) = run_of(admitted(traceparent=PARENT), finished(traceparent=PARENT))
    assert {admission.trace, root.trace} == {"0af7651916cd43dd8448eb211c80319c"}
    assert (root.parent, admission.parent) == ("b7ad6b7169203331", root.span)


@pytest.mark.parametrize(
    "nonsense", ["", "hello", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-zz-1-01", "-" * 9]
)
def test_a_malformed_traceparent_is_not_taken_over(nonsense):
    _, (_, root) = run_of(admitted(traceparent=nonsense), finished())
    assert (root.trace, root.parent) == (ident("r1").hex, None)


def test_previews_and_state_are_bounded():
    state, spans = run_of(*(admitted(str(n)) for n in range(RUNS_MAX + 5)))
    assert len(state.runs) == RUNS_MAX
    _, [_, span] = run_of(admitted(), of_tool(ToolReturned, content="x" * 10**6))
    assert len(span.output) < PREVIEW_CHARS + 50


def test_what_comes_after_the_end_has_a_span_and_leaves_no_state():
    state, spans = run_of(admitted(), finished(), of_tool(ToolReturned, content="late"))
    assert (len(spans), state) == (3, None)
    assert spans[-1].trace == spans[0].trace


def test_two_runs_of_a_session_do_not_mix():
    _, spans = run_of(
        admitted("a"),
        admitted("b"),
        of_run(ModelFailed, "x", "b", 1, step=1, model="small", reason="r", started_at=at(0)),
        finished("a"),
        finished("b"),
    )
    assert [span.trace for span in spans] == [ident(run).hex for run in "abbab"]


def test_no_span_shows_what_screening_took_out():
    _, spans = run_of(
        admitted(text=f"charge {CARD}"),
        responded(calls=(call("lookup", f'{{"order":"{CARD}"}}'),), seconds=1),
        of_tool(ToolReturned, content=f"done with {CARD}", seconds=2),
        responded(step=2, content="password: tR7vK2mX9pLq4ZsB8w", seconds=4),
        given=company(),
    )
    shown = {
        span.name: (span.input, span.output) for span in spans if span.operation != "guardrail"
    }
    assert shown == {
        "admission": ("", "admitted"),
        "execute_tool lookup": ('{"order": "[card]"}', "done with [card]"),
        "chat small": ("done with [card]", "blocked by rule secret"),
    }
    assert [span.input for span in spans if span.operation == "chat"] == [
        "charge [card]",
        "done with [card]",
    ]


@pytest.mark.parametrize(
    ("status", "by", "output"),
    [
        ("approved", "mara", ["approved by mara: fine"]),
        ("expired", "", ["expired: fine"]),
        ("cancelled", "", []),
    ],
)
def test_the_wait_for_an_approval_is_a_span(status, by, output):
    word = of_run(
        ApprovalResolved,
        "a",
        seconds=90,
        approval=ident("a"),
        step=1,
        call="c1",
        tool="refund",
        status=status,
        by=by,
        note="fine",
        wait_ms=60_000,
    )
    spans = trace(Open(), word)[1]
    assert [span.output for span in spans] == output
    assert [(span.name, span.operation, span.started_at, span.wait_ms) for span in spans] == [
        ("approval refund", "approval", at(30), 60_000)
    ] * len(output)
