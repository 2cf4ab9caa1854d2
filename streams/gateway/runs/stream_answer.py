"""Streaming of an answer while it is written, so that what was sent never has to be taken back.

Chunks are hints: one may be lost, an attempt may be replaced by another, and no policy has screened
them. So they are sent only where no rule looks at responses and only the model's text makes the
answer; text is sent only as long as it continues what was sent; and the screened response of the
step, or the outcome, completes it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from schemas.definitions.kinds import Agent, Definitions, Model
from schemas.events.agent.approvals import UserAsked
from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import RequestAdmitted, RequestRefused
from schemas.events.base import Event
from schemas.events.model_chunks import ModelChunk
from streams.gateway import sse
from streams.gateway.auth import Caller
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError
from streams.gateway.runs import results
from streams.gateway.runs.recent_runs import ENDS, OUTCOMES, E, KnownRun, Outcome
from streams.gateway.runs.results import SubmittedRun

LAST_S = 0.05
BEGIN_S = 2.0
BETWEEN = "\n\n"
TEXT_EVENTS = (ModelChunk, ResponseCleared, *ENDS)


def may_stream(definitions: Definitions, name: str) -> bool:
    """Whether parts of this agent's answers may be sent before they are whole."""
    agent = definitions.agent(name)
    if agent is None or agent.output is not None or agent.pattern not in ("loop", "single"):
        return False
    policy = definitions.policy(agent.policy) if agent.policy else None
    unscreened = agent.policy is None or (policy is not None and not policy.changes_responses)
    return unscreened and any(
        model is not None and model.stream for model in _models(definitions, agent)
    )


def _models(definitions: Definitions, agent: Agent) -> list[Model | None]:
    """The models that may answer: the agent's, or those of its route, and their fallbacks."""
    route = None if definitions.model(agent.model) else definitions.route(agent.model)
    names = (
        (agent.model,)
        if route is None
        else (*route.cascade, *(candidate.model for candidate in route.candidates), *route.fallback)
    )
    return [definitions.model(name) for name in (*names, *agent.fallback)]


@dataclass
class StreamedAnswer:
    """What was sent of an answer. `take` returns what may be sent now."""

    step: int = 0
    attempt: tuple = ()
    text: str = ""
    sent: str = ""
    whole: bool = True
    before: bool = False

    def take(self, event: Event) -> str:
        match event:
            case ModelChunk():
                return self._chunk(event)
            case ResponseCleared() if event.step >= self.step:
                self._at(event.step)
                more = self._upto(event.content or "")
                self.whole = True
                return more
        return ""

    def end(self, answer: str) -> str:
        """The rest of the answer. Raises ProblemError where something else was sent already."""
        if answer.startswith(self.sent):
            return self._upto(answer)
        if not self.whole:
            raise ProblemError(
                502,
                "attempt_abandoned",
                "what was sent of this answer was given up for another one: take the "
                "answer from GET /v1/runs/{id}",
            )
        self._at(self.step + 1)  # a tool's result that ended the run
        return self._upto(answer)

    def _chunk(self, chunk: ModelChunk) -> str:
        attempt = chunk.step, chunk.started_at, chunk.attempt
        if (
            attempt < self.attempt
            or chunk.step < self.step
            or (chunk.step == self.step and self.whole and self.sent)
        ):
            return ""
        if chunk.step > self.step:
            self._at(chunk.step)
        if attempt != self.attempt:
            self.attempt = attempt
            self.text = ""
        if chunk.offset > len(self.text):
            return ""  # one was lost: the whole response will say it
        self.text = self.text[: chunk.offset] + chunk.text
        self.whole = False
        return self._upto(self.text)

    def _at(self, step: int) -> None:
        if step > self.step:
            self.before = self.before or bool(self.sent)
            self.step = step
            self.sent = ""
            self.text = ""
            self.attempt = ()

    def _upto(self, text: str) -> str:
        """The part of the text that has not been sent, where it continues what has been."""
        if not text.startswith(self.sent) or len(text) == len(self.sent):
            return ""
        between = BETWEEN if self.before and not self.sent else ""
        more = text[len(self.sent) :]
        self.sent = text
        return between + more


async def wait_until_begun(gateway: Gateway, asked: SubmittedRun) -> None:
    """Returns when the run has begun, so that a refusal is an answer of its own and not the end of
    a stream that looked well. Raises ProblemError. A run that has no event for `BEGIN_S` is waited
    for in the stream.
    """
    recent = gateway.link.recent_runs
    until = asyncio.get_running_loop().time() + BEGIN_S
    known = recent.find(asked.run)
    if known is None:
        return
    with recent.reading(known) as log:
        while True:
            heard = next(
                recent.events(known, asked.run, known.since, (RequestAdmitted, RequestRefused)),
                None,
            )
            if heard and isinstance(heard[1], RequestRefused):
                results.checked_result(results.result_of_event(heard[1]))
            if heard or not await log.change(until - asyncio.get_running_loop().time()):
                return


Part = str | dict[str, Any] | None


async def answer_parts(
    gateway: Gateway, caller: Caller, asked: SubmittedRun, agent: str
) -> AsyncIterator[Part]:
    """The answer's text in parts as it comes, None where nothing came for a while, then the result.

    Raises ProblemError for a run that ends without an answer.
    """
    known = gateway.link.recent_runs.find(asked.run)
    if known is None:
        result = results.checked_result(await results.result_of(gateway, caller, asked))
        yield result["answer"] or ""
        yield result
        return
    streaming = may_stream(gateway.link.current_definitions(), agent)
    reading = _AnswerReading(gateway, known, asked.run, streaming)
    async with contextlib.aclosing(reading.parts()) as parts:
        async for part in parts:
            yield part
    result = results.checked_result(results.result_of_event(reading.ended))
    if rest := reading.answer.end(result["answer"] or ""):
        yield rest
    yield result


class _AnswerReading:
    """The events of one run while its answer is streamed. `ended` is the outcome, once it is
    there.
    """

    def __init__(self, gateway: Gateway, known: KnownRun, run: UUID, streaming: bool):
        self._gateway = gateway
        self._recent = gateway.link.recent_runs
        self._known = known
        self._run = run
        self._streaming = streaming
        self._place = known.since
        self._outcome: Outcome | UserAsked | None = None
        self.answer = StreamedAnswer()

    @property
    def ended(self) -> Outcome | UserAsked:
        """The run's outcome, or the agent's question. Raises ValueError before `parts` has ended."""
        if self._outcome is None:
            raise ValueError(f"the run {self._run} has not ended")
        return self._outcome

    async def parts(self) -> AsyncGenerator[str | None, None]:
        """Text that may be sent, until the run has ended. Raises ProblemError 504."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._gateway.settings.gateway_wait_s
        with self._recent.reading(self._known) as log:
            while True:
                for more in self._new_text():
                    yield more
                if self._outcome is not None:
                    break
                if not await log.change(min(sse.KEEP_ALIVE_S, until - loop.time())):
                    if loop.time() >= until:
                        raise results.timeout_problem(self._gateway, self._run)
                    yield None
            # The response of the last step comes on another topic than the outcome.
            if self._streaming and not self.answer.whole and await log.change(LAST_S):
                for event in self._events((ResponseCleared,)):
                    if more := self.answer.take(event):
                        yield more

    def _new_text(self) -> Iterator[str]:
        for event in self._events(TEXT_EVENTS if self._streaming else ENDS):
            if isinstance(event, OUTCOMES):
                self._outcome = event
            elif isinstance(event, UserAsked):
                if event.request == self._run:
                    self._outcome = event
            elif more := self.answer.take(event):
                yield more

    def _events(self, kinds: tuple[type[E], ...]) -> Iterator[E]:
        for place, event in self._recent.events(self._known, self._run, self._place, kinds):
            self._place = place
            yield event
