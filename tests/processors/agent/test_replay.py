"""A recorded conversation, played again, asks all models and tools exactly what was asked then.

The model and the tools here answer only in the order of the recording, and only to what was
recorded.
"""

import json
from typing import Any

import pytest

from schemas.definitions.kinds import Agent, Definitions, Model, Policy, Rule, Tenant, Tool
from schemas.definitions.limits import Limits
from schemas.events.agent.runs import AgentRequested, RunFinished
from schemas.events.values import Message, Tokens, ToolRequest
from schemas.ports import ChatAnswer, ChatQuestion, ToolAnswer, ToolQuestion
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.processors import at, call, ident

SHADOW = Policy(
    name="shadow",
    shadow=True,
    rules=tuple(Rule(find=find, action="redact") for find in ("secret", "card", "iban", "email")),
)
PROMPT = "You book flights."
OWN = (
    Message(role="system", content=PROMPT),
    Message(role="user", content="Book me to Ghent, card 4111 1111 1111 1111."),
    Message(
        role="assistant", content="Let me look.", tool_calls=(call("find", '{ "to":"GNE" }', "x"),)
    ),
    Message(role="tool", tool_call_id="x", name="find", content='{"flights": []}'),
    Message(
        role="assistant", tool_calls=(call("find", '{"to":"BRU"}', "x"),)
    ),  # ids come again in real recordings
    Message(role="tool", tool_call_id="x", name="find", content="Error: söld out"),
    Message(role="assistant", content="Nothing to Ghent or Brussels."),
    Message(role="user", content="Then a person, please."),
    Message(role="assistant", tool_calls=(call("transfer", "{}", "z"),)),
    Message(role="tool", tool_call_id="z", name="transfer", content="Transferred."),
)


class Recorded:
    """The ports of one recording: `place` is how far it has come."""

    def __init__(self, messages: tuple[Message, ...]):
        self.messages = messages
        self.place = 1

    def chat(self, question: ChatQuestion) -> ChatAnswer:
        answer = self.messages[len(question.messages)]
        assert question.messages == self.messages[: len(question.messages)]
        assert answer.role == "assistant"
        self.place = len(question.messages) + 1
        return ChatAnswer(
            "m",
            "p",
            "r",
            answer.content,
            answer.tool_calls,
            "tool_calls" if answer.tool_calls else "stop",
            Tokens(input_tokens=3, output_tokens=2),
            at(0),
            at(0),
        )

    def tool(self, question: ToolQuestion) -> ToolAnswer:
        asked = self.messages[self.place - 1].tool_calls[0]
        result = self.messages[self.place]
        assert (question.tool, question.arguments, question.context["call"]) == (
            asked.name,
            asked.arguments,
            asked.id,
        )
        assert result.role == "tool"
        return ToolAnswer(
            result.content or "", at(0), at(0), ends=self.place == len(self.messages) - 1
        )


def defined(prompt: str, tools: set[str]) -> Definitions:
    return Definitions.of(
        Tenant(name="t", burst=1_000),
        Model(name="m", provider="p", base_url="http://m", upstream="u"),
        SHADOW,
        *(
            Tool(name=name, url="http://t", parameters={"type": "object"}, effect="pure")
            for name in tools
        ),
        Agent(
            name="a",
            prompt=prompt,
            model="m",
            tools=tuple(sorted(tools)),
            policy="shadow",
            limits=Limits(steps=100),
        ),
    )


def play(messages: tuple[Message, ...], name: str) -> list[RunFinished]:
    """Sends every user message that the recording answers; the runs' ends."""
    while messages[-1].role == "user":
        messages = messages[:-1]
    recorded = Recorded(messages)
    tools = {request.name for message in messages for request in message.tool_calls}
    local = Local(
        PIPELINE,
        defined(messages[0].content or "", tools),
        {"chat": recorded.chat, "tool": recorded.tool, "search": lambda question: None},
    )
    said = [
        event
        for n, message in enumerate(messages)
        if message.role == "user"
        for event in local.send(
            AgentRequested(
                id=ident(f"{name}/{n}"),
                at=at(n),
                tenant="t",
                agent="a",
                text=message.content or "",
                session=name,
            )
        )
    ]
    local.close()
    assert not [event for event in said if type(event).__name__ == "DeadLettered"]
    ends = [event for event in said if isinstance(event, RunFinished)]
    assert [end.outcome for end in ends] == ["completed"] * sum(
        message.role == "user" for message in messages
    )
    assert sum(end.model_calls for end in ends) == sum(
        message.role == "assistant" for message in messages
    )
    assert sum(end.tool_calls for end in ends) == sum(
        message.role == "tool" for message in messages
    )
    assert ends[-1].answer == messages[-1].content
    return ends


def message_of(said: dict[str, Any]) -> Message:
    calls = tuple(
        ToolRequest(id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"])
        for c in said.get("tool_calls") or ()
    )
    return Message(
        role=said["role"],
        content=said.get("content"),
        tool_calls=calls,
        tool_call_id=said.get("tool_call_id"),
        name=said.get("name"),
    )


def test_a_small_conversation_of_our_own():
    assert [end.answer for end in play(OWN, "own")] == [
        "Nothing to Ghent or Brussels.",
        "Transferred.",
    ]


def test_a_recording_that_differs_is_found_out():
    changed = (
        *OWN[:4],
        OWN[4].model_copy(update={"tool_calls": (call("find", '{"to":"BRU"}', "y"),)}),
        *OWN[5:],
    )
    with pytest.raises(AssertionError):
        play(changed, "changed")


def test_all_recorded_conversations(shared_data):
    lines = (shared_data / "tools" / "tau_airline_trajectories.jsonl").read_text().splitlines()
    ends = [
        end
        for n, line in enumerate(lines)
        for end in play(tuple(message_of(m) for m in json.loads(line)["messages"]), f"tau/{n}")
    ]
    assert (
        len(lines),
        len(ends),
        sum(end.model_calls for end in ends),
        sum(end.tool_calls for end in ends),
    ) == (100, 574, 1_124, 586)
