"""Runs a recorded run again with another prompt or another model.

The agent's state machine runs again over the run's history: up to the chosen step with the model's
recorded responses, from there on with responses of the model to try. Tools are never called: a call
that the run made gets its recorded result, and any other fails as not recorded. Cost and time are
limited; responses without a price are at most five. Guardrails do not run again, and nothing is
published but the usage of the fork's calls, in the tenant's budget, under the fork's own id.
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
from processors.agent.calls.tool_calls import CallEvent
from processors.agent.machine import AgentInput
from processors.agent.progress import same_call
from processors.agent.state import CallResult, Idle
from processors.models import call as model_call
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
"""Records the usage of one response, as TokensUsed events."""


class ForkError(Exception):
    """A run that cannot be forked; the text says why and what to do."""


@dataclass(frozen=True)
class Change:
    """The change of a fork. `prompt` is a text or a reference; None changes nothing."""

    step: int = 1
    prompt: str | PromptUse | None = None
    model: str | None = None
    cost_usd: Decimal = Decimal("0.10")
    seconds: float = 300


@dataclass
class Fork:
    """The result of a fork: the model's responses by step, and the end. Replayed ones are free."""

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
        """A model request with its whole conversation; the event may carry only new messages."""
        if not asked.digest:
            return asked
        messages = self.conversations.join(
            (asked.tenant, asked.session), asked.messages, asked.follows, asked.digest
        )
        return asked.model_copy(
            update={"messages": messages or asked.messages, "follows": "", "digest": ""}
        )


def changed(
    definitions: Definitions, request: RequestCleared, change: Change, prompt_version: int = 0
) -> Definitions:
    """The definitions with the run's agent changed, under the same version. Raises ForkError.

    An unchanged prompt keeps the version of the run, whatever its alias says by now.
    """
    agent = definitions.agent(request.agent, request.agent_version)
    if agent is None:
        raise ForkError(
            f"version {request.agent_version} of agent {request.agent!r} is not on the topic "
            "any more"
        )
    model = change.model or agent.model
    if definitions.model(model) is None and definitions.route(model) is None:
        known = ", ".join(
            sorted(name for kind, name in definitions.newest if kind in ("model", "route"))
        )
        raise ForkError(f"there is no model {model!r}: the models and routes are {known}")
    prompt = agent.prompt if change.prompt is None else change.prompt
    if change.prompt is None and isinstance(prompt, PromptUse) and prompt_version:
        prompt = prompt.model_copy(update={"version": prompt_version})
    version = version_for(prompt, request.run, definitions) or 0
    if isinstance(prompt, PromptUse) and definitions.prompt(prompt.use, version) is None:
        raise ForkError(
            f"there is no prompt {prompt.use}@{prompt.version or prompt.alias}: "
            "`./weir prompts list` shows those that are applied"
        )
    # The fork has a limit of its own.
    limits = agent.limits.model_copy(update={"cost_usd": UNLIMITED})
    other = agent.model_copy(update={"model": model, "prompt": prompt, "limits": limits})
    return replace(
        definitions,
        bodies={**definitions.bodies, ("agent", request.agent, request.agent_version): other},
    )


async def fork(
    history: Iterable[Event], definitions: Definitions, change: Change, chat: Chat, book: Book
) -> Fork:
    """Run a recorded run again from a step. Raises ForkError where its history is incomplete."""
    history = list(history)
    request = next((event for event in history if isinstance(event, RequestCleared)), None)
    first = next((event for event in history if isinstance(event, ModelAsked)), None)
    if request is None or first is None:
        raise ForkError(
            "the run's beginning is not on Kafka any more (or it never called a model): "
            "fork a newer one"
        )
    steps = max(event.step for event in history if isinstance(event, ModelAsked))
    if change.step > steps:
        raise ForkError(
            f"its last step is {steps}, and there is no step {change.step}: choose an earlier one"
        )
    ended = next((event for event in history if isinstance(event, RunFinished)), None)
    definitions = changed(definitions, request, change, ended.prompt_version if ended else 0)
    past = Recorded(history)
    made = Fork()
    rerun = _Rerun(past, made, definitions, change, chat, book)
    earlier = tuple(message for message in first.messages if message.role != "system")[:-1]
    session, events = machine.advance(Idle(messages=earlier), request, definitions)
    for _ in range(STEPS_MAX):
        answers = [await rerun.answer(event) for event in events]
        if made.finished is not None:
            return made
        events = []
        for answer in (one for one in answers if one is not None):
            session, more = machine.advance(session, answer, definitions)
            events += more
        made.finished = made.finished or next(
            (e for e in events if isinstance(e, RunFinished)), None
        )
        if not events:
            raise ForkError("the run waits for a person or a timer here: fork from a later step")
    return made


@dataclass(frozen=True)
class _Rerun:
    """Answers the events of a fork: from the recording before the chosen step, else by `chat`."""

    past: "Recorded"
    made: Fork
    definitions: Definitions
    change: Change
    chat: Chat
    book: Book

    async def answer(self, event: Event) -> AgentInput | None:
        match event:
            case ModelAsked():
                event = self.made.whole(event)
                recorded = self.past.answer(event.step) if event.step < self.change.step else None
                self.made.replayed += recorded is not None
                response = recorded or await self._response(event)
                self.made.answers.append(response)
                return replaced(response, event)
            case ToolCalled() | PassagesAsked() | AgentRequested():
                self.made.calls.append(event)
                return self.past.result(event, self.made)
            case RunFinished():
                self.made.finished = event
        return None

    async def _response(self, event: ModelAsked) -> ResponseCleared | ModelFailed:
        """The model's response to a step that is not replayed; its usage is recorded."""
        reason, detail = _spent(self.made, self.change)
        if reason:
            return event.then(
                ModelFailed, model=event.model, reason=reason, started_at=event.at, detail=detail
            )
        request = model_call.ask(event, self.definitions)
        result = (
            Failure(request.reason, request.detail, event.at, event.at)
            if isinstance(request, Impossible)
            else await self._in_time(request, event)
        )
        outcome = next(
            one
            for one in model_call.tell(event, result, self.definitions)
            if isinstance(one, ModelResponded | ModelFailed)
        )
        own = {"id": derived_id(self.made.id, str(outcome.id)), "run": self.made.id}
        await self.book(*meter(outcome.model_copy(update=own), self.definitions))
        if isinstance(outcome, ModelFailed):
            return outcome
        self.made.cost_usd += outcome.cost_usd or 0
        self.made.unpriced += outcome.cost_usd is None
        return outcome.then(ResponseCleared)

    async def _in_time(self, request: Any, event: ModelAsked) -> Any:
        """The model's response; a failure where it takes longer than the fork may."""
        left_s = self.made.began + self.change.seconds - time.monotonic()
        try:
            return await asyncio.wait_for(self.chat(request), left_s)
        except TimeoutError:
            detail = f"the model did not answer within the fork's {self.change.seconds:g} s"
            return Failure("fork_time", detail, event.at, event.at)


def _spent(made: Fork, change: Change) -> tuple[str, str]:
    """The reason and its detail where no model may be called any more, else empty texts."""
    if change.cost_usd.is_nan() or made.cost_usd >= change.cost_usd:
        cost = money_text(made.cost_usd)
        most = money_text(change.cost_usd)
        return "fork_cost", f"the fork has cost {cost} USD of at most {most}: raise --max-cost"
    if made.unpriced >= UNPRICED_MAX:
        return (
            "fork_cost",
            f"{made.unpriced} responses had no price, so the cost of the fork is unknown: "
            "give the model a price",
        )
    if time.monotonic() >= made.began + change.seconds:
        return (
            "fork_time",
            f"the fork has taken its {change.seconds:g} s: begin at a later step",
        )
    return "", ""


def replaced(answer: Any, asked: ModelAsked) -> Any:
    """A recorded response at the time of this request: it is of the same step of the same run."""
    return answer.model_copy(update={"at": max(answer.at, asked.at)})


class Recorded:
    """The recorded inputs of a run: responses by step, and the results of each call in order."""

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
        """The recorded result of an equal call; the last one serves all further calls."""
        tool, step, call_id = _call_of(call)
        found = self._results.get(key_of(call)) or self._results.get(tool)
        if found:
            event = found.popleft() if len(found) > 1 else found[0]
            return event.model_copy(update={"step": step, "call": call_id})
        made.unrecorded.append(tool)
        fields = {}
        if isinstance(call, AgentRequested) and call.parent:
            fields = call.parent.model_dump(include={"session", "run", "agent", "agent_version"})
        return call.then(
            ToolFailed,
            tool=tool,
            step=step,
            call=call_id,
            reason="not_recorded",
            started_at=call.at,
            detail="the recorded run made no such call, and a fork calls no tools",
            **fields,
        )


def _call_of(call: CallEvent) -> tuple[str, int, str]:
    """The tool, the step and the id of a call."""
    if not isinstance(call, AgentRequested):
        return call.tool, call.step, call.call
    if call.parent is None:
        raise ForkError("the run's history has a request to an agent without its caller")
    return call.parent.tool, call.parent.step, call.parent.call


def key_of(call: CallEvent) -> str:
    """Equal for equal calls; empty for a sub-agent, whose task a changed prompt may change."""
    match call:
        case ToolCalled():
            return same_call(ToolRequest(id=call.call, name=call.tool, arguments=call.arguments))
        case PassagesAsked():
            return f"{call.tool} {call.query} {call.limit}"
        case _:
            return ""
