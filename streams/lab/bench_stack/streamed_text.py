"""How old is a word of a model's answer when somebody reads it: on Kafka, as a run's events, as
OpenAI's client does?

A model that says a word every 30 ms and knows when it said it, and three readers of each of its
answers at once, all in this process and by its clock. `weir follow` reads as the first of them
does. Measured on two cores that others used as well (a load of 9): 43 ms at the median on each way,
and 73, 81 and 82 ms in 99 of 100; 40 ms of it is that words are told together
(`streams.ports.chunk_publisher.GAP_S`).
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from uuid import UUID

import httpx

from infra.embedded.scripted.faults import Faulty, faulty
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model
from streams.config import Settings
from streams.engine.follow_run import Piece, follow
from streams.lab.bench_engine.broker import MeasurementError
from streams.operations.connections import codec_of
from streams.operations.figures import percentile

ANSWERS = 5
WORDS = 100
PACE_S = 0.03
THINKS_S = 1.0
"""The model thinks before it says the first word, so that all of its readers are there by then."""
TALKER = "talker"
THINKING = "slow_first_token"
WAIT_S = 60
WIDTH = 6
SAID = tuple(f"{nth:05} " for nth in range(WORDS))
TARGETS = {"words_kafka_p99_ms": 100, "words_events_p99_ms": 100, "words_openai_p99_ms": 100}
Arrived = list[tuple[float, int]]
"""When something came, and how many characters of the answer there were by then."""


def provider() -> Faulty:
    """The model's provider, as a context."""
    return faulty(slow_s=THINKS_S, words=SAID, pace_s=PACE_S)


def definitions(provider: Faulty) -> list[Definition]:
    """An agent whose model streams."""
    model = Model(
        name=TALKER, provider="openai", base_url=provider.at(THINKING), upstream=TALKER, stream=True
    )
    return [model, Agent(name=TALKER, prompt="Count.", model=TALKER)]


def read(
    settings: Settings, tenant: str, provider: Faulty, say: Callable[[str], None]
) -> dict[str, float]:
    """`words_kafka_p50_ms`, `words_events_p99_ms`, ...: the age of each word when each reader had
    it. Raises MeasurementError.
    """
    ages: dict[str, list[float]] = {"kafka": [], "events": [], "openai": []}
    for nth in range(ANSWERS + 1):
        say(f"words of an answer, {nth} of {ANSWERS}")
        provider.spoken.clear()
        for reader, arrived in _one(settings, tenant).items():
            if nth:  # with the first, connections are made and code is loaded
                ages[reader] += ages_of(arrived, provider.spoken)
    return {
        f"words_{reader}_{name}_ms": percentile(found, share)
        for reader, found in ages.items()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def ages_of(arrived: Arrived, spoken: list[float]) -> list[float]:
    """Milliseconds from where each word was said to where all of it was there. Raises MeasurementError
    where one is missing.
    """
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
    """One answer, and when its words came to each reader."""
    heard: dict[str, Arrived] = {"kafka": [], "events": [], "openai": []}
    runs: SimpleQueue[UUID] = SimpleQueue()
    url = f"http://127.0.0.1:{settings.gateway_port}"
    headers = {"weir-tenant": tenant}

    def openai() -> None:
        body = {
            "model": TALKER,
            "stream": True,
            "messages": [{"role": "user", "content": "Count."}],
        }
        for data in _events("POST", f"{url}/v1/chat/completions", headers, runs.put, json=body):
            _note(
                heard["openai"],
                *(choice["delta"].get("content") or "" for choice in data["choices"]),
            )

    def events(run: UUID) -> None:
        for data in _events("GET", f"{url}/v1/runs/{run}/events", headers):
            if "offset" in data:
                _note(heard["events"], data["text"])

    def kafka(run: UUID) -> None:
        for piece in follow(settings, codec_of(settings), run, timeout_s=WAIT_S):
            if isinstance(piece, Piece):
                _note(heard["kafka"], piece.text)

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
    return heard


def _note(arrived: Arrived, *texts: str) -> None:
    had = arrived[-1][1] if arrived else 0
    if more := sum(map(len, texts)):
        arrived.append((time.monotonic(), had + more))


def _events(
    method: str,
    url: str,
    headers: dict[str, str],
    begun: Callable[[UUID], None] = lambda run: None,
    **more: object,
) -> Iterator[dict]:
    """The data of a stream of server-sent events; `begun` is told which run it is of, where the
    head says so.
    """
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
