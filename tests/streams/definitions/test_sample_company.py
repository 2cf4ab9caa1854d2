"""The sample company answers its requests in memory, by its scripted model and tools."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from infra.embedded.scripted import server
from processors.knowledge.ingest import Document, chunk
from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import Passage, RequestRefused, RunFinished
from schemas.events.base import Event
from schemas.events.guardrails import VerdictReached
from schemas.events.values import Tokens, ToolRequest
from schemas.ports import (
    ChatAnswer,
    ChatQuestion,
    SearchAnswer,
    SearchQuestion,
    ToolAnswer,
    ToolQuestion,
)
from streams.definitions.folder import load
from streams.engine.client import request
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.processors import NOON

SAMPLE = Path(__file__).parents[3] / "infra" / "company"


class Scripted:
    """The demo's model, tools and search, without a server: the same script answers."""

    def __init__(self, documents):
        self.script = server.load(SAMPLE / "script.yaml")
        self.chunks = [
            piece for d in documents if d.tenant == "fernweh" for piece in chunk(Document(), d)[1]
        ]

    def chat(self, question: ChatQuestion) -> ChatAnswer:
        messages = [
            {
                "role": m.role,
                "content": m.content,
                "name": m.name,
                "tool_call_id": m.tool_call_id,
                "tool_calls": [
                    {"id": c.id, "function": {"name": c.name, "arguments": c.arguments}}
                    for c in m.tool_calls
                ],
            }
            for m in question.messages
        ]
        said = server.answer(self.script, {"model": "scripted-1", "messages": messages})[0]
        choice = said["choices"][0]
        calls = tuple(
            ToolRequest(
                id=c["id"], name=c["function"]["name"], arguments=c["function"]["arguments"]
            )
            for c in choice["message"].get("tool_calls") or ()
        )
        tokens = Tokens(
            input_tokens=said["usage"]["prompt_tokens"],
            output_tokens=said["usage"]["completion_tokens"],
        )
        return ChatAnswer(
            "small",
            "scripted",
            said["model"],
            choice["message"]["content"],
            calls,
            choice["finish_reason"],
            tokens,
            NOON,
            NOON,
        )

    def tool(self, question: ToolQuestion) -> ToolAnswer:
        returned, _, _ = server.tool_result(
            self.script, question.tool, json.loads(question.arguments)
        )
        return ToolAnswer(json.dumps(returned), NOON, NOON)

    def search(self, question: SearchQuestion) -> SearchAnswer:
        words = set(question.query.lower().split())
        best = sorted(
            self.chunks, key=lambda c: -len(words & set(c.text.lower().replace(".", " ").split()))
        )
        return SearchAnswer(
            tuple(
                Passage(document=c.document, nth=c.nth, title=c.title, text=c.text, score=0.5)
                for c in best[: question.limit]
            ),
            NOON,
            NOON,
        )


@pytest.fixture(scope="module")
def played() -> list[tuple[dict, list[Event]]]:
    company = load(SAMPLE)
    world = Scripted(company.documents)
    local = Local(
        PIPELINE,
        Definitions.of(*company.definitions),
        {"chat": world.chat, "tool": world.tool, "search": world.search},
    )
    asked = yaml.safe_load((SAMPLE / "requests.yaml").read_text())
    said = [(fields, local.send(request(**fields))) for fields in asked]
    local.close()
    return said


def test_the_sample_company_answers_all_but_what_it_should_not(played):
    outcomes = [
        (one.outcome if isinstance(one, RunFinished) else one.reason)
        for _, said in played
        for one in said
        if isinstance(one, RunFinished | RequestRefused)
    ]
    assert len(played) == len(outcomes) == 20
    assert {outcome: outcomes.count(outcome) for outcome in outcomes} == {
        "completed": 16,
        "blocked": 1,
        "unknown_agent": 1,
        "empty": 1,
        "quota": 1,
    }
    assert not [
        event for _, said in played for event in said if type(event).__name__ == "DeadLettered"
    ]


def test_the_first_request_shows_a_tool_call_and_every_answer_is_of_the_script(played):
    assert {"ToolCalled", "ToolReturned", "SpanEnded"} <= {
        type(event).__name__ for event in played[0][1]
    }
    answers = [
        event.answer
        for _, said in played
        for event in said
        if isinstance(event, RunFinished) and event.answer
    ]
    assert server.NO_RULE not in answers
    assert not [answer for answer in answers if "{" in answer]


def test_cards_and_accounts_never_reach_the_model(played):
    after = "".join(
        event.model_dump_json()
        for _, said in played
        for event in said
        if type(event).__name__ in ("ModelAsked", "RequestCleared", "RunFinished", "SpanEnded")
    )
    rules = {
        verdict.rule
        for _, said in played
        for verdict in said
        if isinstance(verdict, VerdictReached)
    }
    assert rules == {"card", "iban", "email", "secret"}
    assert not [
        text for text in ("4111 1111", "3704 0044", "gala.meyer", "tR7vK2") if text in after
    ]


def test_the_sample_folder_survives_a_copy(tmp_path):
    shutil.copytree(SAMPLE, tmp_path / "copy")
    assert len(load(tmp_path / "copy").definitions) == len(load(SAMPLE).definitions)
