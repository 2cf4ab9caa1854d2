"""Small conversations for the tests of replay."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import ResultCleared, RunFinished
from schemas.events.values import Tokens
from streams.lab.replay.player import Played
from streams.lab.replay.recording import Conversation

PROMPT = "You help with orders. Use the tools."


def call(identity: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": identity,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
        ],
    }


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def result(identity: str, name: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, "tool_call_id": identity, "name": name}


CONVERSATIONS: list[list[dict[str, Any]]] = [
    [
        said("system", PROMPT),
        said("user", "Where is order A-7?"),
        call("c1", "find_order", order="A-7"),
        result("c1", "find_order", '{"state": "on its way"}'),
        said("assistant", "It is on its way."),
        said("user", "Thanks!"),
        said("assistant", "You are welcome."),
    ],
    [
        said("system", PROMPT),
        said("user", "I want a person."),
        call("c1", "hand_over", summary="wants a person"),
        result("c1", "hand_over", ""),
    ],  # ended by its tool, whose result is empty
    [
        said("system", "Another prompt."),
        said("user", "Orders A-1 and A-1 again: ünïcode ✓"),
        call("c1", "find_order", order="A-1"),
        result("c1", "find_order", "[]"),
        call("c1", "find_order", order="A-1"),
        result("c1", "find_order", "[]"),  # the same call id once more
        said("assistant", "Nothing there."),
        said("user", "ok"),
        said("assistant", "Bye."),
        said("user", "unanswered"),
    ],
]


def line(messages: list[dict[str, Any]]) -> str:
    return json.dumps({"messages": messages})


def played_of(talk: Conversation) -> Played:
    """What the pipeline would have said, event by event, had it done all as recorded."""
    played = Played()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    step = 0
    calls = {}
    common: dict[str, Any] = {"at": at, "tenant": "t", "session": "s", "agent": talk.agent}
    for message in talk.messages[1:]:
        if message.role == "user":
            run = uuid4()
            step = 0
            played.note(
                RunFinished(
                    id=uuid4(),
                    run=run,
                    outcome="completed",
                    text=message.content,
                    started_at=at,
                    wait_ms=1,
                    **common,
                )
            )
        elif message.role == "assistant":
            step += 1
            calls = {one.id: one.name for one in message.tool_calls}
            played.note(
                ResponseCleared(
                    id=uuid4(),
                    run=run,
                    step=step,
                    content=message.content,
                    finish_reason="stop",
                    tool_calls=message.tool_calls,
                    tokens=Tokens(),
                    **common,
                )
            )
        else:
            played.note(
                ResultCleared(
                    id=uuid4(),
                    run=run,
                    step=step,
                    call=message.tool_call_id,
                    content=message.content,
                    tool=calls[message.tool_call_id],
                    **common,
                )
            )
    return played
