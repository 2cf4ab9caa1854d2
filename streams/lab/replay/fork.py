"""What would a run have done with another prompt or another model?

The run's own state machine is run again over its history: up to the step that is asked for with the
model's recorded answers, from there on with answers of the model that is to be tried. Tools are
never called: a call that the run made gets the result that it had then, and any other is told that
nothing was recorded. What all of it may cost is bounded, in money and in time; answers without a
price are at most five. Nothing is screened a second time, and nothing of it is published but what
its calls took: that is usage of the tenant, in its budget, under the fork's own id.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from processors.agent import machine
from processors.agent.calls.tool_calls import CallEvent, same_call
from processors.agent.machine import AgentInput
from processors.agent.state import CallResult, Idle
from processors.models import call as asking
from processors.prompts.render import version_for
from processors.usage.metering import meter
from schemas.definitions.kinds import Definitions
from schemas.definitions.prompts import PromptUse
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded, ResponseCleared
from schemas.events.agent.runs import (
    AgentRequested,
    PassagesAsked,
    RequestCleared,
    ResultCleared,
    RunFinished,
    ToolCalled,
    ToolFailed,
    ToolUncertain,
)
from schemas.events.base import Event, derived_id
from schemas.events.values import ToolRequest
from schemas.money import money_text
from schemas.ports import Failure, Impossible
from streams.engine.calls.conversation_cache import Conversations

STEPS_MAX = 200
UNPRICED_MAX = 5
UNLIMITED = Decimal(1_000_000_000)
Chat = Callable[[Any], Awaitable[Any]]
Book = Callable[..., Awaitable[None]]
"""Takes the usage of one answer, as TokensUsed events."""


class ForkError(Exception):
    """A run that cannot be run again; a sentence says why and what to do."""


@dataclass(frozen=True)
class Change:
    """What is other than it was. `prompt` is a text or a reference; None leaves a thing as it was."""

    step: int = 1
    prompt: str | PromptUse | None = None
    model: str | None = None
    cost_usd: Decimal = Decimal("0.10")
    seconds: float = 300


@dataclass
class Fork:
    """What came of it: the model's answers step by step, and the end. `replayed` steps cost
    nothing.
    """

    answers: list[ResponseCleared | ModelFailed] = field(default_factory=list)
    calls: list[CallEvent] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    finished: RunFinished | None = None
    replayed: int = 0
    cost_usd: Decimal = Decimal(0)
    unpriced: int = 0
    began: float = field(default_factory=time.monotonic)
    conversations: Conversations = field(default_factory=Conversations)
    id: UUID = field(default_factory=uuid4)

    def whole(self, asked: ModelAsked) -> ModelAsked:
        """A question with its whole conversation, of which it may carry only what is new."""
        if not asked.digest:
            return asked
        messages = self.conversations.join(
            (asked.tenant, asked.session), asked.messages, asked.follows, asked.digest
        )
        return asked.model_copy(
            update={"messages": messages or asked.messages, "follows": "", "digest": ""}
        )


def changed(
    given: Definitions, request: RequestCleared, change: Change, prompt_version: int = 0
) -> Definitions:
    """The definitions with the run's agent changed, as that same version. A prompt that is not
    changed is in the version that the run had, whatever its alias says by now. Raises ForkError.
    """
    agent = given.agent(request.agent, request.agent_version)
    if agent is None:
        raise ForkError(
            f"version {request.agent_version} of agent {request.agent!r} is not on the topic any more"
        )
    model = change.model or agent.model
    if given.model(model) is None and given.route(model) is None:
        known = ", ".join(sorted(name for kind, name in given.newest if kind in ("model", "route")))
        raise ForkError(f"there is no model {model!r}: the models and routes are {known}")
    prompt = agent.prompt if change.prompt is None else change.prompt
    if change.prompt is None and isinstance(prompt, PromptUse) and prompt_version:
        prompt = prompt.model_copy(update={"version": prompt_version})
    version = version_for(prompt, request.run, given) or 0
    if isinstance(prompt, PromptUse) and given.prompt(prompt.use, version) is None:
        raise ForkError(
            f"there is no prompt {prompt.use}@{prompt.version or prompt.alias}: `./weir prompts list` shows "
            "those that are applied"
        )
    limits = agent.limits.model_copy(
        update={"cost_usd": UNLIMITED}
    )  # the fork's own bound stands in its place
    other = agent.model_copy(update={"model": model, "prompt": prompt, "limits": limits})
    return replace(
        given, bodies={**given.bodies, ("agent", request.agent, request.agent_version): other}
    )


async def fork(
    history: Iterable[Event], given: Definitions, change: Change, chat: Chat, book: Book
) -> Fork:
    """Run a recorded run again from a step on. Raises ForkError where its history is not whole."""
    history = list(history)
    request = next((event for event in history if isinstance(event, RequestCleared)), None)
    first = next((event for event in history if isinstance(event, ModelAsked)), None)
    if request is None or first is None:
        raise ForkError(
            "the run's beginning is not on Kafka any more (or it never asked a model): fork a newer one"
        )
    steps = max(event.step for event in history if isinstance(event, ModelAsked))
    if change.step > steps:
        raise ForkError(
            f"its last step is {steps}, and there is no step {change.step}: begin at one of those that it has"
        )
    ended = next((event for event in history if isinstance(event, RunFinished)), None)
    given = changed(given, request, change, ended.prompt_version if ended else 0)
    past = Recorded(history)
    made = Fork()
    earlier = tuple(message for message in first.messages if message.role != "system")[:-1]
    session, events = machine.advance(Idle(messages=earlier), request, given)
    for _ in range(STEPS_MAX):
        answers = [await _answer(event, past, made, given, change, chat, book) for event in events]
        if made.finished is not None:
            return made
        events = []
        for answer in (one for one in answers if one is not None):
            session, more = machine.advance(session, answer, given)
            events += more
        made.finished = made.finished or next(
            (e for e in events if isinstance(e, RunFinished)), None
        )
        if not events:
            raise ForkError("the run waits for a person or a timer here: fork from a later step")
    return made


async def _answer(
    event: Event,
    past: "Recorded",
    made: Fork,
    given: Definitions,
    change: Change,
    chat: Chat,
    book: Book,
) -> AgentInput | None:
    match event:
        case ModelAsked():
            event = made.whole(event)
            answer = past.answer(event.step) if event.step < change.step else None
            made.replayed += answer is not None
            answer = answer or await _asked(event, made, given, change, chat, book)
            made.answers.append(answer)
            return replaced(answer, event)
        case ToolCalled() | PassagesAsked() | AgentRequested():
            made.calls.append(event)
            return past.result(event, made)
        case RunFinished():
            made.finished = event
    return None


async def _asked(
    event: ModelAsked, made: Fork, given: Definitions, change: Change, chat: Chat, book: Book
) -> ResponseCleared | ModelFailed:
    reason, detail = _spent(made, change)
    if reason:
        return event.then(
            ModelFailed, model=event.model, reason=reason, started_at=event.at, detail=detail
        )
    question = asking.ask(event, given)
    answer = (
        Failure(question.reason, question.detail, event.at, event.at)
        if isinstance(question, Impossible)
        else (await _in_time(chat, question, event, made, change))
    )
    [said, *_] = asking.tell(event, answer, given)
    await book(
        *meter(
            said.model_copy(update={"id": derived_id(made.id, str(said.id)), "run": made.id}), given
        )
    )
    if isinstance(said, ModelResponded):
        made.cost_usd += said.cost_usd or 0
        made.unpriced += said.cost_usd is None
        return said.then(ResponseCleared)
    return said


async def _in_time(chat: Chat, question: Any, event: ModelAsked, made: Fork, change: Change) -> Any:
    """The model's answer; a failure where it takes longer than the fork may."""
    try:
        return await asyncio.wait_for(
            chat(question), made.began + change.seconds - time.monotonic()
        )
    except TimeoutError:
        detail = f"the model did not answer within the {change.seconds:g} s that a fork may take"
        return Failure("fork_time", detail, event.at, event.at)


def _spent(made: Fork, change: Change) -> tuple[str, str]:
    """Why no model may be asked any more; empty while one may."""
    if change.cost_usd.is_nan() or made.cost_usd >= change.cost_usd:
        cost = money_text(made.cost_usd)
        most = money_text(change.cost_usd)
        return "fork_cost", f"the fork has cost {cost} USD of at most {most}: raise --max-cost"
    if made.unpriced >= UNPRICED_MAX:
        return (
            "fork_cost",
            f"{made.unpriced} answers had no price, so nobody knows what the fork costs: give the model one",
        )
    if time.monotonic() >= made.began + change.seconds:
        return (
            "fork_time",
            f"the fork has taken the {change.seconds:g} s that it may: begin at a later step",
        )
    return "", ""


def replaced(answer: Any, asked: ModelAsked) -> Any:
    """The answer as one to this question: a recorded one belongs to the same step of the same run."""
    return answer.model_copy(update={"at": max(answer.at, asked.at)})


class Recorded:
    """What the run heard: the model's answers by step, the results of each call in their order."""

    def __init__(self, history: list[Event]):
        self._answers = {e.step: e for e in history if isinstance(e, ResponseCleared | ModelFailed)}
        calls = {
            (e.step, e.call): key_of(e)
            for e in history
            if isinstance(e, ToolCalled | PassagesAsked)
        }
        self._results: dict[str, deque[CallResult]] = defaultdict(deque)
        for event in history:
            if isinstance(event, ResultCleared | ToolFailed | ToolUncertain):
                self._results[calls.get((event.step, event.call), event.tool)].append(event)

    def answer(self, step: int) -> ResponseCleared | ModelFailed | None:
        return self._answers.get(step)

    def result(self, call: CallEvent, made: Fork) -> CallResult:
        """The result of an equal call then; the last one stays where there were more calls than
        results.
        """
        tool = call.parent.tool if isinstance(call, AgentRequested) and call.parent else call.tool
        place = (
            (call.parent.step, call.parent.call)
            if isinstance(call, AgentRequested)
            else (call.step, call.call)
        )
        found = self._results.get(key_of(call)) or self._results.get(tool)
        if found:
            event = found.popleft() if len(found) > 1 else found[0]
            return event.model_copy(update={"step": place[0], "call": place[1]})
        made.unrecorded.append(tool)
        fields = (
            {
                "session": call.parent.session,
                "run": call.parent.run,
                "agent": call.parent.agent,
                "agent_version": call.parent.agent_version,
            }
            if isinstance(call, AgentRequested)
            else {}
        )
        return call.then(
            ToolFailed,
            tool=tool,
            step=place[0],
            call=place[1],
            reason="not_recorded",
            started_at=call.at,
            detail="the run that this forks from made no such call; nothing is called in a fork",
            **fields,
        )


def key_of(call: CallEvent) -> str:
    """Equal for equal calls; a child's is its tool alone, as its task is what a changed prompt
    changes.
    """
    match call:
        case ToolCalled():
            return same_call(ToolRequest(id=call.call, name=call.tool, arguments=call.arguments))
        case PassagesAsked():
            return f"{call.tool} {call.query} {call.limit}"
        case _:
            return ""
