"""A stage that makes its own calls: each session answers its requests one after the other.

A request's text says how long each of its model calls takes, in milliseconds: `5,300`. What a
question says depends on all that its session was told before, so the same cause asks other words
when requests and answers came in another order after an aborted transaction.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel

from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.agent.runs import RequestAdmitted, RunFinished
from schemas.events.values import Message, Tokens
from schemas.ports import Failure, Impossible, Uncertain
from streams.engine.shapes import Call, Fold, Step


class Talk(BaseModel):
    """A session: `queue` holds the requests to come, the first being answered."""

    taken: int = 0
    done: int = 0
    chain: str = ""
    step: int = 0
    queue: tuple[RequestAdmitted, ...] = ()


@dataclass(frozen=True)
class Words:
    """What the model is asked."""

    ident: str
    words: str
    wait_ms: int


@dataclass(frozen=True)
class Said:
    """What the model answers."""

    text: str
    at: datetime


def digest(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()[:16]


def reply(words: str) -> str:
    """What the model answers to these words."""
    return "re " + digest(words)


def talk(
    state: Talk, event: RequestAdmitted | ModelResponded | ModelFailed
) -> tuple[Talk, list[ModelAsked | RunFinished]]:
    if isinstance(event, RequestAdmitted):
        queue = (*state.queue, event)
        state = state.model_copy(update={"taken": state.taken + 1, "queue": queue})
        return (state, [question(state, event)]) if len(queue) == 1 else (state, [])
    told = event.content if isinstance(event, ModelResponded) else event.reason
    chain = digest(state.chain + str(told))
    state = state.model_copy(update={"chain": chain, "step": state.step + 1})
    if state.step < len(waits(state.queue[0])):
        return state, [question(state, event)]
    finished = event.then(
        RunFinished,
        outcome="completed",
        text=str(state.done + 1),
        answer=chain,
        tool_calls=0,
        started_at=event.at,
        wait_ms=0,
    )
    rest = state.queue[1:]
    state = state.model_copy(update={"done": state.done + 1, "step": 0, "queue": rest})
    return state, [finished, *([question(state, rest[0])] if rest else [])]


def waits(request: RequestAdmitted) -> list[int]:
    return [int(wait_ms) for wait_ms in request.text.split(",")]


def question(state: Talk, cause: RequestAdmitted | ModelResponded | ModelFailed) -> ModelAsked:
    request = state.queue[0]
    words = f"{state.taken}|{state.chain}|{state.step}"
    return cause.then(
        ModelAsked,
        run=request.run,
        step=state.step,
        model="m",
        messages=(Message(role="user", content=words),),
        timeout_ms=waits(request)[state.step],
    )


def words_of(asked: ModelAsked) -> str:
    return asked.messages[0].content or ""


def ask(asked: ModelAsked) -> Words | Impossible:
    return Words(str(asked.id), words_of(asked), asked.timeout_ms)


def tell(
    asked: ModelAsked, answer: Said | Failure | Uncertain
) -> list[ModelResponded | ModelFailed]:
    common = {"at": answer.at, "step": asked.step, "model": "m", "started_at": answer.at}
    if not isinstance(answer, Said):
        return [asked.then(ModelFailed, reason=getattr(answer, "reason", ""), **common)]
    return [
        asked.then(
            ModelResponded,
            provider="toy",
            response_model="m",
            content=answer.text,
            finish_reason="stop",
            tokens=Tokens(),
            wait_ms=0,
            **common,
        )
    ]


TALK = (
    Step("talk", Fold(Talk, talk)),
    Step("ask", Call(ask, "model", tell, ordered=False, repeatable=True)),
)
