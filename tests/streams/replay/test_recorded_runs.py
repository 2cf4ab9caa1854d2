"""Do the recorded runs of every pattern go on as they began, and is a change that would break one found?

`tests/histories/*.jsonl` are runs as an older version had them: they are never written anew. A new one is recorded by
`python -m tests.streams.replay.test_recorded_runs`, which writes those that are missing.
"""

import json
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner

from schemas.agent import RunCancelled
from schemas.approvals import ApprovalAsked
from streams.cli import application
from streams.commands.common import Problem
from streams.replay.recorded_runs import BadHistory, Recorder, differences
from streams.topology import PIPELINE
from tests.streams.examples import at, playing
from tests.streams.test_people import word
from tests.streams.test_workflow import paid

HISTORIES = Path(__file__).parents[2] / "histories"
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


def refund(local, ask):
    ask("I want my money back", "clerk", session="mrs-k")
    [asked] = [event for event in ask("L-7", "clerk", 2, session="mrs-k") if isinstance(event, ApprovalAsked)]
    local.send(word(asked.id))


def cancelled(local, ask):
    ask(GROUP.format("Saturday"), "excursion")
    local.send(RunCancelled(id=UUID(int=7), at=at(5), tenant="club", session=str(UUID(int=1)), run=UUID(int=1)))


PLAYED = {
    "single": ("single", one("A lamp made of paper", "namer")),
    "loop": ("team", one("walk near Bergen", "routes")),
    "orchestrator": ("team", one("Plan a weekend in Bergen", "coordinator")),
    "handed-over": ("team", one("My invoice is wrong", "front_desk")),
    "circle": ("team", one("mirror", "mirror")),
    "plan": ("plan", one("An evening on Momo, on Tuesday if we can", "organiser")),
    "critique": ("critique", one("The cellar is to be cleared", "writer")),
    "people": ("refunds", refund),
    "workflow": ("workflow", excursion("Saturday", paid())),
    "workflow-loop": ("workflow", excursion("Monday", paid())),
    "workflow-undone": ("workflow", excursion("Sunday", paid(usd=20))),
    "workflow-cancelled": ("workflow", cancelled),
}


def recorded(name):
    example, play = PLAYED[name]
    recorder = Recorder(PIPELINE)
    with playing(example, pipeline=recorder.pipeline) as (local, ask):
        play(local, ask)
        return recorder.text(local._given())


@pytest.mark.parametrize("name", PLAYED)
def test_a_recorded_run_goes_on_as_it_began(name):
    assert differences(HISTORIES / f"{name}.jsonl") == []


def test_no_history_is_left_over():
    assert {path.stem for path in HISTORIES.glob("*.jsonl")} == PLAYED.keys()


def test_what_is_recorded_now_is_a_history_too(tmp_path):
    (tmp_path / "now.jsonl").write_text(recorded("single"))
    assert differences(tmp_path / "now.jsonl") == []


@pytest.mark.parametrize(("before", "after", "words"), [
    ('"call": "train#1"', '"call": "train#2"', "says ToolCalled with call 'train#1', it was ToolCalled with 'train#2'"),
    ('"deadline": "', '"once_there": 1, "deadline": "', ""),  # what a session no longer has is left out
    ('"deadline": "', '"deadline": "x', "a session of an older version can no longer be read: run.deadline"),
])
def test_a_change_that_would_break_a_run_in_flight_is_found(tmp_path, before, after, words):
    text = (HISTORIES / "workflow.jsonl").read_text()
    (tmp_path / "h.jsonl").write_text(text.replace(before, after))
    found = differences(tmp_path / "h.jsonl")
    assert any(words in one for one in found) if words else found == []


@pytest.mark.parametrize(("text", "words"), [
    ("", "is no history"), ("[]", "is no history"), ("{", "is no history"),
    ('{"definitions": [{"kind": "agent", "version": 1, "body": {"name": "a"}}]}', "definitions can no longer be read"),
    ('{"definitions": []}\n{"key": "k", "state": {}, "took": {"Gone": {}}, "said": []}', "no event Gone"),
    ('{"definitions": []}\n{"key": "k", "state": {}, "took": {"Woke": {}}, "said": []}', "no longer be read"),
])
def test_what_is_no_history_is_said(tmp_path, text, words):
    (tmp_path / "h.jsonl").write_text(text)
    with pytest.raises(BadHistory, match=words):
        differences(tmp_path / "h.jsonl")


def test_the_command_counts_them(tmp_path):
    def checked(*more):
        return CliRunner().invoke(application("check"), ["check", "--histories", "--json", *more])

    (tmp_path / "single.jsonl").write_text((HISTORIES / "single.jsonl").read_text())
    assert json.loads(checked(str(tmp_path)).stdout.splitlines()[-1]) == {"histories": 1, "differences": {"single": []}}
    (tmp_path / "single.jsonl").write_text((HISTORIES / "single.jsonl").read_text().replace(
        '"outcome": "completed"', '"outcome": "failed"'))
    assert isinstance(checked(str(tmp_path)).exception, Problem)


if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    for missing in (name for name in PLAYED if not (HISTORIES / f"{name}.jsonl").exists()):
        (HISTORIES / f"{missing}.jsonl").write_text(recorded(missing))
