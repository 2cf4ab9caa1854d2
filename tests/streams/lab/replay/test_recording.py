"""Recordings are read as the protocol says, and every difference is found."""

import pytest

from schemas.definitions.kinds import Agent, Tool
from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import ResultCleared
from schemas.events.values import Message
from streams.lab.replay import recording
from streams.lab.replay.player import Played, difference
from tests.support.conversations import CONVERSATIONS, line, played_of

TALK = recording.conversation(0, line(CONVERSATIONS[0]))


def test_counts_are_those_of_the_messages():
    assert (TALK.model_calls, TALK.tool_calls, TALK.turns) == (
        3,
        1,
        ("Where is order A-7?", "Thanks!"),
    )


def test_a_last_user_message_without_an_answer_is_not_sent():
    said = [*CONVERSATIONS[0], {"role": "user", "content": "anybody there?"}]
    assert recording.conversation(0, line(said)).turns == TALK.turns


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "line 1: JSONDecodeError"),
        ("[]", "line 1: TypeError"),
        ('{"messages": 3}', "line 1: TypeError"),
        (
            '{"messages": [{"role": "user", "content": "hi"}]}',
            "begins with a system and a user message",
        ),
        ('{"messages": [{"role": "nobody", "content": "hi"}]}', "line 1: ValidationError"),
    ],
)
def test_bad_lines_are_refused_with_their_number(text, says):
    with pytest.raises(recording.RecordingError, match="line 1") as refused:
        recording.conversation(0, text)
    assert says in str(refused.value)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(recording.RecordingError, match="has no conversation"):
        recording.read(tmp_path / "empty.jsonl")


def test_every_tool_and_every_prompt_is_defined_once():
    talks = [recording.conversation(n, line(said)) for n, said in enumerate(CONVERSATIONS)]
    made = recording.definitions(talks, "http://127.0.0.1:1")
    assert [d.name for d in made if isinstance(d, Tool)] == ["find_order", "hand_over"]
    assert {d.name for d in made if isinstance(d, Agent)} == {talk.agent for talk in talks}


def test_what_was_played_is_put_together_again():
    assert difference(TALK, played_of(TALK)) is None


@pytest.mark.parametrize(
    "spoil, says",
    [
        (lambda p: p.note(_changed(p, ResponseCleared, content="Elsewhere.")), "message 4"),
        (lambda p: p.note(_changed(p, ResultCleared, content="{}")), "message 3"),
        (lambda p: p.runs.pop(), "played 5"),
        (
            lambda p: p.runs.__setitem__(
                1, p.runs[1].model_copy(update={"outcome": "failed", "reason": "timeout"})
            ),
            "turn 2 ended failed: timeout",
        ),
        (lambda p: setattr(p, "refused", "quota: over"), "refused: quota"),
    ],
)
def test_any_difference_is_found(spoil, says):
    played = played_of(TALK)
    spoil(played)
    assert says in difference(TALK, played)


def _changed(played: Played, kind, **fields):
    run = played.runs[0].run
    last = (
        played.responses[run][2]
        if kind is ResponseCleared
        else next(iter(played.results[run, 1].values()))
    )
    return last.model_copy(update=fields)


def test_equal_length_prefixes_part_where_they_part():
    one = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    assert recording.first_difference(one, one) is None
    assert recording.first_difference(one, one[:1]) == "recorded 2 messages, played 1"


def test_the_shared_recording_has_the_counts_of_its_readme(shared_data):
    talks = recording.read(shared_data / "tools" / "tau_airline_trajectories.jsonl")
    counts = (
        len(talks),
        sum(t.model_calls for t in talks),
        sum(t.tool_calls for t in talks),
        sum(len(t.turns) for t in talks),
    )
    assert counts == (100, 1124, 586, 574)
