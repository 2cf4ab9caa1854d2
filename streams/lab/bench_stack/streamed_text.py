"""Measures the age of streamed words at their readers: Kafka, server-sent events, OpenAI's API.

A model sends a word every 30 ms and notes the time, and three readers follow each response at once,
all in this process and by its clock. `weir follow` reads as the first of them does. Measured on two
cores that others used as well (a load of 9): 43 ms at the median on each way, and 73, 81 and 82 ms
at the 99th percentile; 40 ms of it is that words are sent together
(`streams.ports.chunk_publisher.GAP_S`).
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import Any
from uuid import UUID

import httpx

from infra.embedded.scripted.faults import Faulty, faulty
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model
from streams.config import Settings
from streams.engine.follow_run import Piece, follow
from streams.lab.bench_engine.broker import MeasurementError, measured
from streams.operations.connections import codec_of

ANSWERS = 5
WORDS = 100
PACE_S = 0.03
THINKS_S = 1.0
"""The model pauses before the first word, so that all of its readers are connected by then."""
TALKER = "talker"
THINKING = "slow_first_token"
WAIT_S = 60
WIDTH = 6
SENT_WORDS = tuple(f"{nth:05} " for nth in range(WORDS))
TARGETS = {"words_kafka_p99_ms": 100, "words_events_p99_ms": 100, "words_openai_p99_ms": 100}
BODY = {"model": TALKER, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
Arrived = list[tuple[float, int]]
"""Pairs of a time and the number of characters that had arrived by then."""


def provider() -> AbstractContextManager[Faulty]:
    """The model's provider, for the length of a `with` block."""
    return faulty(slow_s=THINKS_S, words=SENT_WORDS, pace_s=PACE_S)


def definitions(provider: Faulty) -> list[Definition]:
    """An agent whose model streams."""
    model = Model(
        name=TALKER, provider="openai", base_url=provider.at(THINKING), upstream=TALKER, stream=True
    )
    return [model, Agent(name=TALKER, prompt="Count.", model=TALKER)]


def read(
    settings: Settings, tenant: str, provider: Faulty, say: Callable[[str], None]
) -> dict[str, float]:
    """The age of words at each reader: `words_kafka_p50_ms` and so on. Raises MeasurementError."""
    ages: dict[str, list[float]] = {"kafka": [], "events": [], "openai": []}
    for nth in range(ANSWERS + 1):
        say(f"words of an answer, {nth} of {ANSWERS}")
        provider.spoken.clear()
        for reader, arrived in _one(settings, tenant).items():
            if nth:  # with the first, connections are made and code is loaded
                ages[reader] += ages_of(arrived, provider.spoken)
    return {
        f"words_{reader}_{name}_ms": measured(found, share)
        for reader, found in ages.items()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def ages_of(arrived: Arrived, spoken: list[float]) -> list[float]:
    """Milliseconds from sending each word until it was complete. Raises MeasurementError."""
    found = []
    words = 0
    for at, chars in arrived:
        while (words + 1) * WIDTH <= chars and words < WORDS:
            found.append((at - spoken[words]) * 1000)
            words += 1
    if words < WORDS:
        raise MeasurementError(f"a reader had {words} of {WORDS} words of an answer")
    return found


def _one(settings: Settings, tenant: str) -> dict[str, Arrived]:
    """One response, and when its words came to each reader."""
    arrived: dict[str, Arrived] = {"kafka": [], "events": [], "openai": []}
    runs: SimpleQueue[UUID] = SimpleQueue()
    url = f"http://127.0.0.1:{settings.gateway_port}"
    headers = {"weir-tenant": tenant}

    def openai() -> None:
        stream = _events("POST", f"{url}/v1/chat/completions", headers, runs.put, json=BODY)
        for data in stream:
            texts = [choice["delta"].get("content") or "" for choice in data["choices"]]
            _note(arrived["openai"], *texts)

    def events(run: UUID) -> None:
        for data in _events("GET", f"{url}/v1/runs/{run}/events", headers):
            if "offset" in data:
                _note(arrived["events"], data["text"])

    def kafka(run: UUID) -> None:
        pieces = follow(settings, codec_of(settings), run, timeout_s=WAIT_S)
        for piece in (one for one in pieces if isinstance(one, Piece)):
            _note(arrived["kafka"], piece.text)

    asking = threading.Thread(target=openai, daemon=True)
    asking.start()
    run = runs.get(timeout=WAIT_S)
    threads = [
        asking,
        *(threading.Thread(target=reader, args=(run,), daemon=True) for reader in (events, kafka)),
    ]
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return arrived


def _note(arrived: Arrived, *texts: str) -> None:
    had = arrived[-1][1] if arrived else 0
    if more := sum(map(len, texts)):
        arrived.append((time.monotonic(), had + more))


def _events(
    method: str,
    url: str,
    headers: dict[str, str],
    begun: Callable[[UUID], None] = lambda run: None,
    **more: Any,
) -> Iterator[dict]:
    """The data of a stream of server-sent events; `begun` gets the run that its head names."""
    with httpx.stream(method, url, headers=headers, timeout=WAIT_S, **more) as answer:
        if answer.status_code != 200:
            raise MeasurementError(
                f"{answer.status_code} from {url}: {answer.read().decode()[:300]}"
            )
        if run := answer.headers.get("weir-run"):
            begun(UUID(run))
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                yield json.loads(line.removeprefix("data: "))
