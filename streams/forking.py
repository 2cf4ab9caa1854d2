"""What would a run have done with another prompt or another model?

The run's own state machine is run again over its history: up to the step that is asked for with the model's recorded
answers, from there on with answers of the model that is to be tried. Tools are never called: a call that the run made
gets the result that it had then, and any other is told that nothing was recorded. What all of it may cost is bounded.
Nothing is screened a second time, and nothing of it is published.
"""

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from processors import agent as machine
from processors import model as asking
from processors.calling import Made, same_call
from processors.deltas import UNKNOWN
from processors.session import Session
from schemas.agent import (
    AgentRequested, ModelAsked, ModelFailed, ModelResponded, PassagesAsked, RequestCleared, ResponseCleared, ResultCleared,
    RunFinished, ToolCalled, ToolFailed, ToolRequest, ToolUncertain,
)
from schemas.base import Event
from schemas.calls import Failure, Impossible
from schemas.prompts import PromptUse
from schemas.registry import Agent, Definitions
from streams.remembering import Conversations

STEPS_MAX = 200
UNLIMITED = Decimal(1_000_000_000)
Chat = Callable[[Any], Awaitable[Any]]


class Unforkable(Exception):
    """A run that cannot be run again; a sentence says why and what to do."""


@dataclass(frozen=True)
class Change:
    """What is other than it was. `prompt` is a text or a reference; None leaves a thing as it was."""

    step: int = 1
    prompt: str | PromptUse | None = None
    model: str | None = None
    cost_usd: Decimal = Decimal("0.10")


@dataclass
class Fork:
    """What came of it: the model's answers step by step, and the end. `replayed` steps cost nothing."""

    answers: list[ResponseCleared | ModelFailed] = field(default_factory=list)
    calls: list[Made] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    finished: RunFinished | None = None
    replayed: int = 0
    cost_usd: Decimal = Decimal(0)
    conversations: Conversations = field(default_factory=Conversations)

    async def _answer(event: Event, past: "Recorded", made: Fork, given: Definitions, change: Change, chat: Chat
                  ) -> Event | None:
    match event:
        case ModelAsked():
            event = made.whole(event)
            answer = past.answer(event.step) if event.step < change.step else None
            made.replayed += answer is not None
            answer = answer or await _asked(event, made, given, change, chat)
            if not (isinstance(answer, ModelFailed) and answer.reason == UNKNOWN):  # that one is asked again, whole
                made.answers.append(answer)
            return replaced(answer, event)
        case ToolCalled() | PassagesAsked() | AgentRequested():
            made.calls.append(event)
            return past.result(event, made)
        case RunFinished():
            made.finished = event
    return None


async def _asked(event: ModelAsked, made: Fork, given: Definitions, change: Change, chat: Chat
                 ) -> ResponseCleared | ModelFailed:
    if made.cost_usd >= change.cost_usd:
        return event.then(ModelFailed, model=event.model, reason="fork_cost", started_at=event.at,
                          detail=f"the fork has cost {made.cost_usd} USD of at most {change.cost_usd}: raise --max-cost")
    question = asking.ask(event, given)
    answer = Failure(question.reason, question.detail, event.at, event.at) if isinstance(question, Impossible) else (
        await chat(question))
    [said, *_] = asking.tell(event, answer, given)
    if isinstance(said, ModelResponded):
        made.cost_usd += said.cost_usd or 0
        return said.then(ResponseCleared)
    return said


def replaced(answer: Any, asked: ModelAsked) -> Any:
    """The answer as one to this question: a recorded one belongs to the same step of the same run."""
    return answer.model_copy(update={"at": max(answer.at, asked.at)})


class Recorded:
    """What the run heard: the model's answers by step, the results of each call in their order."""

    def __init__(self, history: list[Event]):
        self._answers = {e.step: e for e in history if isinstance(e, ResponseCleared | ModelFailed)}
        calls = {(e.step, e.call): key_of(e) for e in history if isinstance(e, ToolCalled | PassagesAsked)}
        self._results: dict[str, deque[Event]] = defaultdict(deque)
        for event in history:
            if isinstance(event, ResultCleared | ToolFailed | ToolUncertain):
                self._results[calls.get((event.step, event.call), event.tool)].append(event)

    def answer(self, step: int) -> ResponseCleared | ModelFailed | None:
        return self._answers.get(step)

    def result(self, call: Made, made: Fork) -> Event:
        """The result of an equal call then; the last one stays where there were more calls than results."""
        tool = call.parent.tool if isinstance(call, AgentRequested) and call.parent else call.tool
        place = (call.parent.step, call.parent.call) if isinstance(call, AgentRequested) else (call.step, call.call)
        found = self._results.get(key_of(call)) or self._results.get(tool)
        if found:
            event = found.popleft() if len(found) > 1 else found[0]
            return event.model_copy(update={"step": place[0], "call": place[1]})
        made.unrecorded.append(tool)
        fields = {"session": call.parent.session, "run": call.parent.run, "agent": call.parent.agent,
                  "agent_version": call.parent.agent_version} if isinstance(call, AgentRequested) else {}
        return call.then(ToolFailed, tool=tool, step=place[0], call=place[1], reason="not_recorded", started_at=call.at,
                         detail="the run that this forks from made no such call; nothing is called in a fork", **fields)


def key_of(call: Made) -> str:
    """Equal for equal calls; a child's is its tool alone, as its task is what a changed prompt changes."""
    match call:
        case ToolCalled():
            return same_call(ToolRequest(id=call.call, name=call.tool, arguments=call.arguments))
        case PassagesAsked():
            return f"{call.tool} {call.query} {call.limit}"
        case _:
            return ""
