"""Is an answer found again by its own tenant, in its time, and is a cache that cannot be used no
more than a miss?
"""

import asyncio
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.events.values import Tokens, ToolRequest
from schemas.ports import ChatAnswer, ChatQuestion, Endpoint, Kept
from sinks.models.client import ModelClient
from sinks.models.response_cache import ResponseCache
from sinks.runtime import Runtime
from tests.support.processors import NOON

KEPT = Kept("acme", "k1", 60)
ANSWER = ChatAnswer(
    "small",
    "stub",
    "small-1",
    "hello",
    (),
    "stop",
    Tokens(input_tokens=7, output_tokens=2),
    NOON,
    NOON,
)


@pytest.fixture
def cache(tmp_path):
    made = ResponseCache(tmp_path / "home" / "responses.sqlite")
    yield made
    made.close()


def later(seconds):
    return NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("kept", "seconds", "found"),
    [
        (KEPT, 59, True),
        (KEPT, 60, False),
        (Kept("other", "k1", 60), 1, False),
        (Kept("acme", "k2", 60), 1, False),
    ],
)
def test_an_answer_is_found_by_its_tenant_and_key_while_it_lasts(cache, kept, seconds, found):
    cache.store(KEPT, ANSWER, NOON)
    assert cache.find(kept, later(seconds)) == (
        replace(ANSWER, started_at=later(seconds), at=later(seconds), attempts=0, cache_hit=True)
        if found
        else None
    )


@pytest.mark.parametrize(
    "change",
    [
        {"finish_reason": "length"},
        {"finish_reason": "content_filter"},
        {"content": None},
        {"content": ""},
        {"tool_calls": (ToolRequest(id="c", name="look", arguments="{}"),)},
    ],
)
def test_only_a_whole_answer_is_kept(cache, change):
    cache.store(KEPT, replace(ANSWER, **change), NOON)
    assert cache.find(KEPT, NOON) is None


def test_what_has_expired_is_removed_and_another_process_sees_what_is_kept(cache, tmp_path):
    cache.store(KEPT, ANSWER, NOON)
    other = ResponseCache(tmp_path / "home" / "responses.sqlite")
    assert other.find(KEPT, NOON).content == "hello"
    other.store(Kept("acme", "k2", 60), ANSWER, later(100))
    with sqlite3.connect(tmp_path / "home" / "responses.sqlite") as db:
        assert db.execute("SELECT key FROM responses").fetchall() == [("k2",)]
    other.close()


def test_a_file_that_cannot_be_used_is_a_miss_and_a_line_in_the_log(tmp_path, caplog):
    (tmp_path / "broken").write_bytes(b"this is no database" * 100)
    for path in (tmp_path / "broken", tmp_path / "broken" / "below"):
        cache = ResponseCache(path)
        cache.store(KEPT, ANSWER, NOON)
        assert cache.find(KEPT, NOON) is None
    assert "was not used" in caplog.text


def test_a_hit_asks_nobody(cache):
    asked = []

    async def ask(endpoint, _question, _left_s, _hear):
        asked.append(endpoint.name)
        return {
            "response_model": "small-1",
            "content": "hello",
            "tool_calls": (),
            "finish_reason": "stop",
            "tokens": ANSWER.tokens,
        }

    port = ModelClient(ask, runtime=Runtime(now=lambda: NOON), cache=cache)
    question = ChatQuestion(
        (Endpoint("small", "stub", "", "s"),), (), (), None, None, 1_000, "q", kept=KEPT
    )
    first, second = (asyncio.run(port(question)) for _ in range(2))
    assert asked == ["small"] and (first.cache_hit, first.attempts) == (False, 1)
    assert (second.cache_hit, second.attempts, second.tried, second.content) == (
        True,
        0,
        (),
        "hello",
    )
    assert second.tokens == ANSWER.tokens and second.preferred == second.endpoint
    assert asyncio.run(port(replace(question, kept=None))).cache_hit is False and len(asked) == 2
