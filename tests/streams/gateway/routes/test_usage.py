"""Are a run's tokens told as each protocol counts them, none twice and none left out?"""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.events.agent.runs import RunFinished
from schemas.events.values import Tokens
from streams.gateway.routes import anthropic_messages, openai_chat, openai_responses
from streams.gateway.runs import results

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TOOK = Tokens(
    input_tokens=100,
    cached_input_tokens=60,
    cache_write_tokens=10,
    output_tokens=20,
    reasoning_tokens=5,
)
RUN = RunFinished(
    id=UUID(int=1),
    at=NOON,
    tenant="t",
    session="s",
    run=UUID(int=2),
    agent="a",
    outcome="completed",
    answer="yes",
    tokens=TOOK,
    started_at=NOON,
    wait_ms=1,
)


@pytest.mark.parametrize(
    ("protocol", "told"),
    [
        (
            openai_chat,
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 60},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
        ),
        (
            openai_responses,
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 5},
                "total_tokens": 120,
            },
        ),
        (
            anthropic_messages,
            {
                "input_tokens": 30,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 10,
                "output_tokens": 20,
            },
        ),
    ],
    ids=["chat completions", "responses", "messages"],
)
def test_each_protocol_counts_in_its_own_way(protocol, told):
    assert protocol.usage(results.result_of_event(RUN)) == told
