"""Recorded runs of every pattern continue unchanged, and breaking changes are found.

`tests/histories/*.jsonl` are runs as an older version had them: they are never written anew. A new
one is recorded by `python -m tests.streams.lab.replay.test_recorded_runs`, which writes those that
are missing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from schemas.definitions.limits import Context, Limits
from schemas.events.agent.approvals import ApprovalAsked
from schemas.events.agent.runs import RunCancelled
from sinks.http import CallError
from sinks.tools.kinds import ToolKind
from sinks.tools.results import ToolResult
from streams.cli.main import application
from streams.definitions import folder
from streams.engine.errors import UserError
from streams.lab.replay.recorded_runs import HistoryError, Recorder, differences
from streams.topology import PIPELINE
from tests.streams.cli.test_approvals import word
from tests.streams.pipelines.test_workflow import paid
from tests.support.examples import FOLDER, at, playing

HISTORIES = Path(__file__).parents[3] / "histories"
GROUP = '{{"people": 12, "day": "{}"}}'


def one(text, agent):
    return lambda local, ask: ask(text, agent)


def excursion(day, *signals):
    def play(local, ask):
        ask(GROUP.format(day), "excursion")
        for signal in signals:
            local.advance(signal.at)
            local.send(signal)
        local.advance(at(200_000))

    return play


def approval_of(said):
    return next(event for event in said if isinstance(event, ApprovalAsked))


def refund(local, ask):
    ask("I want my money back", "clerk", session="mrs-k")
    asked = approval_of(ask("L-7", "clerk", 2, session="mrs-k"))
    local.send(word(asked.id))


def decided(text, agent, **fields):
    """Somebody decides after an hour; without `fields` nobody does."""

    def play(local, ask):
        asked = approval_of(ask(text, agent, session="mrs-k"))
        said = word(asked.id, **fields).model_copy(update={"session": asked.session})
        local.send(said) if fields else local.advance(asked.expires_at)

    return play


def cancelled(text, agent, tenant, session):
    def play(local, ask):
        ask(text, agent, session=session)
        local.send(
            RunCancelled(id=UUID(int=7), at=at(5), tenant=tenant, session=session, run=UUID(int=1))
        )

    return play


def talk(local, ask):
    """A session that outgrows what its agent is shown: its beginning is summarised."""
    for nth in range(1, 5):
        ask(f"A lamp made of paper {nth}" + " and so on" * 60, "namer", nth, session="long")


async def lost(question, _left_s, _secret):
    """A tool that finds orders, and whose payments nobody hears of any more."""
    if question.tool == "find_order":
        return ToolResult('{"lamp": "Heron", "eur": 40}')
    raise CallError("reset", "the connection was lost", uncertain=True)


@dataclass(frozen=True)
class Story:
    """An example, what is done in it, which of its definitions are other than they are, and how
    tools are reached.
    """

    example: str
    play: Callable[..., object]
    other: Mapping[tuple[str, str], Mapping[str, object]] = field(default_factory=dict)
    more: Mapping[str, ToolKind] = field(default_factory=dict)


CHEAP = ("model", "cheap")
NAMER = ("agent", "namer")
CLERK = ("agent", "clerk")
PLAYED = {
    "single": Story("single", one("A lamp made of paper", "namer")),
    "stream": Story(
        "single", one("A lamp made of paper", "namer"), {("model", "small"): {"stream": True}}
    ),
    "loop": Story("team", one("walk near Bergen", "routes")),
    "loop-stopped": Story(
        "team",
        one("walk near Bergen", "routes"),
        {("agent", "routes"): {"limits": Limits(steps=1)}},
    ),
    "summarised": Story(
        "single",
        talk,
        {
            NAMER: {
                "pattern": "loop",
                "limits": Limits(steps=3),
                "context": Context(tokens=500, recent_turns=1),
            }
        },
    ),
    "cascade": Story("routing", one("Which crampons fit?", "adviser")),
    "fallback": Story(
        "routing",
        one("A text on gaiters", "writer"),
        {CHEAP: {"base_url": "http://127.0.0.1:1/nowhere"}},
    ),
    "no-model": Story(
        "routing",
        one("Which crampons fit?", "writer"),
        {name: {"base_url": "http://127.0.0.1:1/nowhere"} for name in (CHEAP, ("model", "dear"))},
    ),
    "orchestrator": Story("team", one("Plan a weekend in Bergen", "coordinator")),
    "handed-over": Story("team", one("My invoice is wrong", "front_desk")),
    "circle": Story("team", one("mirror", "mirror")),
    "plan": Story("plan", one("An evening on Momo, on Tuesday if we can", "organiser")),
    "critique": Story("critique", one("The cellar is to be cleared", "writer")),
    "people": Story("refunds", refund),
    "approval-denied": Story(
        "refunds", decided("L-7: money back", "clerk", decision="deny", note="not this one")
    ),
    "approval-changed": Story(
        "refunds", decided("L-7: money back", "clerk", arguments='{"order":"L-7","amount_eur":25}')
    ),
    "approval-expired": Story("refunds", decided("L-7: money back", "clerk")),
    "child-waits": Story("refunds", decided("I have a broken lamp", "desk", decision="approve")),
    "child-cancelled": Story(
        "refunds", cancelled("I have a broken lamp", "desk", "lamps", "mrs-k")
    ),
    "uncertain": Story(
        "refunds", decided("L-7: money back", "clerk", decision="approve"), more={"http": lost}
    ),
    "structured": Story("refunds", one("a sloppy one", "clerk")),
    "structured-failed": Story(
        "refunds", one("a sloppy one", "clerk"), {CLERK: {"output_repairs": 0}}
    ),
    "workflow": Story("workflow", excursion("Saturday", paid())),
    "workflow-loop": Story("workflow", excursion("Monday", paid())),
    "workflow-undone": Story("workflow", excursion("Sunday", paid(usd=20))),
    "workflow-cancelled": Story(
        "workflow", cancelled(GROUP.format("Saturday"), "excursion", "club", str(UUID(int=1)))
    ),
}


def recorded(name):
    story = PLAYED[name]
    recorder = Recorder(PIPELINE)
    changed = [
        definition.model_copy(update=story.other[definition.kind, definition.name])
        for definition in folder.load(FOLDER / story.example, 1).definitions
        if (definition.kind, definition.name) in story.other
    ]
    with playing(story.example, *changed, pipeline=recorder.pipeline, more=story.more) as (
        local,
        ask,
    ):
        story.play(local, ask)
        return recorder.text(local._newest())


@pytest.mark.parametrize("name", PLAYED)
def test_a_recorded_run_goes_on_as_it_began(name):
    assert differences(HISTORIES / f"{name}.jsonl") == []


def test_no_history_is_left_over():
    assert {path.stem for path in HISTORIES.glob("*.jsonl")} == PLAYED.keys()


def test_what_is_recorded_now_is_a_history_too(tmp_path):
    (tmp_path / "now.jsonl").write_text(recorded("single"))
    assert differences(tmp_path / "now.jsonl") == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            '"call": "train#1"',
            '"call": "train#2"',
            "says ToolCalled with call 'train#1', it was ToolCalled with 'train#2'",
        ),
        (
            '"deadline": "',
            '"once_there": 1, "deadline": "',
            "",
        ),  # what a session no longer has is left out
        (
            '"deadline": "',
            '"deadline": "x',
            "a session of an older version can no longer be read: active.run.deadline",
        ),
    ],
)
def test_a_change_that_would_break_a_run_in_flight_is_found(tmp_path, before, after, words):
    text = (HISTORIES / "workflow.jsonl").read_text()
    (tmp_path / "h.jsonl").write_text(text.replace(before, after))
    found = differences(tmp_path / "h.jsonl")
    assert any(words in one for one in found) if words else found == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no history"),
        ("[]", "is no history"),
        ("{", "is no history"),
        (
            '{"definitions": [{"kind": "agent", "version": 1, "body": {"name": "a"}}]}',
            "definitions can no longer be read",
        ),
        (
            '{"definitions": []}\n{"key": "k", "state": {}, "took": {"Gone": {}}, "said": []}',
            "no event Gone",
        ),
        (
            '{"definitions": []}\n{"key": "k", "state": {}, "took": {"Woke": {}}, "said": []}',
            "no longer be read",
        ),
        (
            '{"definitions": []}\n{"key": "k", "state": {}, "took": {"RunsHeld": '
            '{"id": "00000000-0000-0000-0000-000000000001", "at": "2026-01-31T12:00:00Z", '
            '"tenant": "t", "session": "s", "runs": 1, "held": true}}, "said": []}',
            "the agent reads no RunsHeld",
        ),
    ],
)
def test_what_is_no_history_is_said(tmp_path, text, words):
    (tmp_path / "h.jsonl").write_text(text)
    with pytest.raises(HistoryError, match=words):
        differences(tmp_path / "h.jsonl")


def test_the_command_counts_them(tmp_path):
    def checked(*more):
        return CliRunner().invoke(application("check"), ["check", "--histories", "--json", *more])

    (tmp_path / "single.jsonl").write_text((HISTORIES / "single.jsonl").read_text())
    assert json.loads(checked(str(tmp_path)).stdout.splitlines()[-1]) == {
        "histories": 1,
        "differences": {"single": []},
    }
    (tmp_path / "single.jsonl").write_text(
        (HISTORIES / "single.jsonl")
        .read_text()
        .replace('"outcome": "completed"', '"outcome": "failed"')
    )
    assert isinstance(checked(str(tmp_path)).exception, UserError)


if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    for missing in (name for name in PLAYED if not (HISTORIES / f"{name}.jsonl").exists()):
        (HISTORIES / f"{missing}.jsonl").write_text(recorded(missing))
