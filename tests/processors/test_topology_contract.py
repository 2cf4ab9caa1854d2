"""Does no valid event make a processor raise anything but UnprocessableError, and do all examples
say what they said before?

`tests/golden/STEP/EVENT-EXAMPLE.json` is what each step says to each example of `schemas/examples`,
from its first state. `python -m tests.processors.test_topology_contract` writes them anew; the
difference is then to be read.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from processors.agent import machine as agent
from processors.agent.calls.pending import AwaitingTool
from processors.agent.conversation.messages import user_says
from processors.agent.state import Active, ActiveRun, Session
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event, UnprocessableError
from schemas.events.values import Tokens
from schemas.events.webhooks import WebhookAnswer
from schemas.ports import ChatAnswer, Failure, Impossible, SearchAnswer, ToolAnswer, Uncertain
from streams.engine.shapes import Call, Each, Fold, Step, Window, kinds
from streams.topology import PIPELINE
from tests.support.events import events_of
from tests.support.processors import AGENT, TENANT, cleared, company

ROOT = Path(__file__).parents[2]
EXAMPLES, GOLDEN = ROOT / "schemas" / "examples", ROOT / "tests" / "golden"
THEN = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATE = TypeAdapter(Session)
CASES = [
    (step, kind, path)
    for step in PIPELINE
    for kind in kinds(step.reads)
    for path in sorted((EXAMPLES / kind.__name__).glob("*.json"))
]


def knowing(event: Event) -> Definitions:
    """Definitions in which this event's tenant, agent and tools are known."""
    agent = getattr(event, "agent", "support")
    version = getattr(event, "agent_version", 1)
    renamed = TENANT.model_copy(update={"name": event.tenant, "burst": 1_000_000})
    made = company(renamed, AGENT.model_copy(update={"name": agent}))
    return Definitions(
        {**made.bodies, ("agent", agent, version): AGENT.model_copy(update={"name": agent})},
        {**made.newest, ("agent", agent): version},
    )


def results(step: Step, event: Event, known: Definitions) -> list[Event]:
    """All that a step can say to an event, from its first state."""
    match step.by:
        case Each(run=run):
            return [*run(event, known)]
        case Fold(start=start, run=run):
            return [*run(start(), event, known)[1]]
        case Window(start=start, run_add=add, run_close=close):
            total, end = add(start(), event, known), THEN + timedelta(minutes=1)
            return [*close(event.partition_key(), THEN, end, total, known)]
        case Call(run_ask=ask, port=port, run_tell=tell):
            question = ask(event, known)
            answer = (
                Failure(question.reason, question.detail, THEN, THEN)
                if isinstance(question, Impossible)
                else None
            )
            said = []
            for one in [answer] if answer else answers(port):
                said += tell(event, one, known)
            return said


def answers(port: str) -> list[Any]:
    """What a port may answer."""
    fine = {
        "chat": ChatAnswer(
            "small", "openai", "gpt-4o-mini", "hello", (), "stop", Tokens(), THEN, THEN
        ),
        "tool": ToolAnswer("{}", THEN, THEN),
        "search": SearchAnswer((), THEN, THEN),
        "webhook": WebhookAnswer(204, THEN, THEN),
    }
    return [
        fine[port],
        Failure("timeout", "no answer", THEN, THEN),
        Uncertain("crashed", THEN, THEN),
    ]


def golden_path(step: Step, kind: type[Event], example: Path) -> Path:
    return GOLDEN / step.name / f"{kind.__name__}-{example.stem}.json"


def said_to(step: Step, kind: type[Event], example: Path) -> list[dict[str, Any]]:
    event = kind.model_validate(json.loads(example.read_text()))
    return [
        {type(one).__name__: one.model_dump(mode="json", exclude_defaults=True)}
        for one in results(step, event, knowing(event))
    ]


@pytest.mark.parametrize(
    ("step", "kind", "example"), CASES, ids=[f"{s.name}-{k.__name__}-{p.stem}" for s, k, p in CASES]
)
def test_an_example_says_what_it_said(step, kind, example):
    path = golden_path(step, kind, example)
    assert path.exists(), (
        "run `python -m tests.processors.test_topology_contract` and read what it wrote"
    )
    assert said_to(step, kind, example) == json.loads(path.read_text())


def test_no_golden_file_is_left_over():
    assert {path for path in GOLDEN.rglob("*.json")} == {golden_path(*case) for case in CASES}


def test_every_event_that_is_read_has_an_example():
    assert {kind for _, kind, _ in CASES} == {
        kind for step in PIPELINE for kind in kinds(step.reads)
    }


@pytest.mark.parametrize(
    "kind",
    sorted({kind for step in PIPELINE for kind in kinds(step.reads)}, key=str),
    ids=lambda kind: kind.__name__,
)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_valid_event_is_taken_or_unprocessable(kind, data):
    event = data.draw(events_of(kind))
    for step in PIPELINE:
        if kind in kinds(step.reads):
            for known in (knowing(event), Definitions()):
                try:
                    said = results(step, event, known)
                except UnprocessableError:
                    continue
                assert all(type(one) in kinds(step.writes) for one in said)
                assert isinstance(step.by, Call) or len({one.id for one in said}) == len(said)


@pytest.mark.parametrize("kind", kinds(agent.AgentInput), ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_agent_takes_whatever_answer_it_waits_for(kind, data):
    event = data.draw(events_of(kind))
    knows = knowing(event)
    run = ActiveRun(
        cleared(run="r1").model_copy(
            update={
                "run": getattr(event, "run", UUID(int=1)),
                "agent": getattr(event, "agent", "support"),
                "agent_version": getattr(event, "agent_version", 1),
                "tenant": event.tenant,
                "session": event.session,
            }
        ),
        deadline=THEN,
        step=getattr(event, "step", 1),
        tool_versions={"lookup": 1, "refund": 1, "search": 1},
    )
    acting = replace(
        run, pending=(AwaitingTool(getattr(event, "call", "c1"), getattr(event, "tool", "lookup")),)
    )
    for now in (run, acting):
        session = Active((user_says("hi"),), queue=(cleared("other"),), run=now)
        after, said = agent.advance(session, event, knows)
        assert (
            len([one for one in said if type(one) is RunFinished]) <= 2
        )  # this run's, and that of the one that waits
        assert len({one.id for one in said}) == len(said)
        assert STATE.validate_json(STATE.dump_json(after)) == after


def write_golden() -> None:
    for step, kind, example in CASES:
        path = golden_path(step, kind, example)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(said_to(step, kind, example), indent=1, ensure_ascii=False) + "\n"
        )


if __name__ == "__main__":
    write_golden()
