"""Measures agents on the whole stack: overhead a step, concurrency, long runs, sub-agents,
streaming.

A stack of its own on free ports, with a model and tools that answer at once or after a second. What
Weir adds to a step is read from the events: they have the times at which a response arrived and the
next call left.
"""

import json
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

from infra.embedded import stack
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant, Tool
from schemas.definitions.limits import Context, Limits
from schemas.definitions.prices import Price
from schemas.definitions.tools import AgentTarget, HttpTarget
from schemas.events.agent.models import ModelResponded
from schemas.events.agent.runs import AgentRequested, PassagesFound, RunFinished, ToolReturned
from schemas.events.base import Event
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.definitions.folder import Company
from streams.engine.client import Client, Watch, now, request
from streams.engine.schema_registry import Registry
from streams.lab.bench_engine.broker import MeasurementError, measured
from streams.lab.bench_stack import stack as whole
from streams.lab.bench_stack import streamed_text
from streams.lab.isolated_stack import resident_mb
from streams.lab.replay import run_history
from streams.operations.connections import codec_of
from streams.operations.deploy import apply_and_wait

TENANT = "bench"
LENGTHS = (50, 100)
PAD = "x" * 5_000
SUB_AGENTS = 20
AT_ONCE = 1_000
CALLS_RUNNER = "calls-0"
GENEROUS = Limits(
    steps=1_000,
    tokens=1_000_000_000,
    cost_usd=Decimal(1_000_000),
    seconds=600,
    fan_out=100,
)
CallResult = ModelResponded | ToolReturned | PassagesFound

TARGETS = {
    "overhead_p50_ms": 8,
    "overhead_p99_ms": 60,
    "three_steps_p99_ms": 150,
    "in_flight": 500,
    "chain_growth": 2.2,
    "fan_out_s": 1.6,
} | streamed_text.TARGETS
AT_LEAST = {"in_flight"}


def run(settings: Settings, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Every figure of TARGETS, and whether each is met. Raises MeasurementError."""
    home = settings.home.resolve() / "bench-agents"
    say("starting a stack of its own")
    with whole.running(home, script()) as ours, streamed_text.provider() as provider:
        url = f"http://127.0.0.1:{ours.services_port}"
        apply_and_wait(ours, Company([*definitions(url), *streamed_text.definitions(provider)], ()))
        finished: dict[UUID, float] = {}
        calls: list[CallResult] = []

        def add_call(event: Event) -> None:
            if isinstance(event, CallResult):
                calls.append(event)

        with (
            Client(ours, codec_of(ours), whole.noting(finished)) as client,
            Watch(
                ours,
                Codec(Registry(ours)),
                (ModelResponded, ToolReturned, PassagesFound),
                add_call,
            ),
        ):
            figures: dict[str, Any] = steps(client, finished, calls, seconds, say)
            calls.clear()
            figures |= at_once(ours, client, calls, say)
            figures |= fan_out(client, say)
            figures |= chain(ours, client, say)
        figures |= streamed_text.read(ours, TENANT, provider, say)
    return figures | {
        "met": {
            name: (figures[name] >= wanted if name in AT_LEAST else figures[name] <= wanted)
            for name, wanted in TARGETS.items()
        },
        "targets": TARGETS,
    }


def steps(
    client: Client,
    finished: dict[UUID, float],
    calls: list[CallResult],
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, float]:
    """Runs of a model, a tool and a model, a few a second: gaps between calls, and the whole."""
    say(f"{whole.RUNS_A_SECOND} runs a second, for {seconds:.0f} s")
    ask(client, [asked("stepper", "look up 0")])
    calls.clear()
    waits = whole.ask_steadily(
        client, finished, seconds, lambda number: asked("stepper", f"look up {number}")
    )
    between = gaps(event for event in calls if event.agent == "stepper")
    return {
        "runs": len(waits),
        "overhead_p50_ms": measured(between, 0.5),
        "overhead_p99_ms": measured(between, 0.99),
        "three_steps_p50_ms": measured(waits, 0.5),
        "three_steps_p99_ms": measured(waits, 0.99),
    }


def gaps(calls: Iterable[CallResult]) -> list[float]:
    """Milliseconds from each call's result until the run's next call leaves."""
    by_run: dict[UUID, list[CallResult]] = {}
    for event in calls:
        by_run.setdefault(event.run, []).append(event)
    found = []
    for events in by_run.values():
        events.sort(key=lambda event: event.at)
        found += [
            (later.started_at - earlier.at).total_seconds() * 1000
            for earlier, later in pairwise(events)
        ]
    return found


def at_once(
    settings: Settings, client: Client, calls: list[CallResult], say: Callable[[str], None]
) -> dict[str, float | None]:
    """A thousand runs at once with a model of a second: calls in flight, and the memory of it."""
    say(f"{AT_ONCE} runs at once, a second each")
    before = runner_mb(settings)
    began = time.monotonic()
    ask(client, [asked("sleeper", f"sleep {number}") for number in range(AT_ONCE)], 120)
    took_s = time.monotonic() - began
    return {
        "in_flight": in_flight(calls),
        "in_flight_s": took_s,
        "in_flight_mb_before": before,
        "in_flight_mb_after": runner_mb(settings),
    }


def in_flight(calls: Iterable[CallResult]) -> int:
    """The most calls in flight at one moment."""
    ends = sorted(
        (moment, change)
        for event in calls
        for moment, change in ((event.started_at, 1), (event.at, -1))
    )
    most = 0
    current = 0
    for _, change in ends:
        current += change
        most = max(most, current)
    return most


def runner_mb(settings: Settings) -> float | None:
    """Resident memory of the call runner."""
    return resident_mb(stack.status(settings.home.resolve())["services"][CALLS_RUNNER]["pid"])


def fan_out(client: Client, say: Callable[[str], None]) -> dict[str, float]:
    """An agent with twenty sub-agents at once, each of a second: median and worst of five."""
    say(f"{SUB_AGENTS} sub-agents of a second each")
    took = []
    for number in range(5):
        [ended] = ask(client, [asked("coordinator", f"divide {number}")])
        took.append(ended.wait_ms / 1000)
    return {"fan_out_s": measured(took, 0.5), "fan_out_worst_s": max(took)}


def chain(settings: Settings, client: Client, say: Callable[[str], None]) -> dict[str, float]:
    """Runs of fifty and of a hundred tool calls with 5 KB results: the bytes of each in Kafka."""
    found: dict[int, int] = {}
    tokens = 0
    for length in LENGTHS:
        say(f"{length} tool calls of 5 KB")
        began = now()
        [ended] = ask(client, [asked("counter", f"count to {length}")], 300)
        if ended.tool_calls != length:
            raise MeasurementError(
                f"the run made {ended.tool_calls} of {length} tool calls: "
                f"{ended.reason} {ended.detail}"
            )
        events = run_history.of_session(settings, codec_of(settings), TENANT, ended.session, began)
        found[length] = sum(len(json.dumps(event.model_dump(mode="json"))) for event in events)
        tokens = ended.tokens.input_tokens
    half = found[LENGTHS[0]]
    full = found[LENGTHS[1]]
    return {
        "chain_half_kb": half / 1e3,
        "chain_kb": full / 1e3,
        "chain_input_tokens": tokens,
        "chain_growth": full / half,
    }


def ask(client: Client, requests: list[AgentRequested], timeout_s: float = 60) -> list[RunFinished]:
    """Wait for these runs. Raises MeasurementError where one did not complete."""
    client.publish(*requests)
    client.flush()
    return completed(client.wait([one.id for one in requests], timeout_s), len(requests))


def completed(outcomes: dict[UUID, Event], wanted: int) -> list[RunFinished]:
    ended = [
        event
        for event in outcomes.values()
        if isinstance(event, RunFinished) and event.outcome == "completed"
    ]
    if len(ended) < wanted:
        other = next(
            (event for event in outcomes.values() if event not in ended), "no outcome in time"
        )
        raise MeasurementError(
            f"{wanted - len(ended)} of {wanted} runs did not complete, e.g. {other!r}"[:500]
        )
    return ended


def asked(agent: str, text: str) -> AgentRequested:
    return request(TENANT, agent, text)


def definitions(url: str) -> list[Definition]:
    """A tenant without a quota, and an agent for each measurement."""
    model = Model(
        name="scripted",
        provider="scripted",
        base_url=f"{url}/v1",
        upstream="scripted",
        price=Price(input=Decimal(1), output=Decimal(2)),
    )
    number = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}
    tools = [
        Tool(
            name=name,
            description="Looks a number up.",
            target=HttpTarget(url=f"{url}/tools/{name}"),
            effect="pure",
            parameters=number,
        )
        for name in ("look_up", *(f"next_{length}" for length in LENGTHS))
    ]
    workers = [
        Tool(
            name="ask_sleeper",
            description="Ask a worker.",
            target=AgentTarget(agent="sleeper"),
        )
    ]
    agents = {
        "stepper": ("look_up",),
        "sleeper": (),
        "coordinator": ("ask_sleeper",),
        "counter": tuple(f"next_{length}" for length in LENGTHS),
    }
    return [
        Tenant(name=TENANT, requests_per_minute=1_000_000, burst=100_000, concurrent_runs=100_000),
        model,
        *tools,
        *workers,
        *(
            Agent(
                name=name,
                prompt="Do what you are asked for.",
                model="scripted",
                tools=own,
                limits=GENEROUS,
                context=Context(tokens=300_000),
                history_messages=10_000,
            )
            for name, own in agents.items()
        ),
    ]


def script() -> str:
    """The script of the model and the tools, as JSON, which is YAML too."""
    rows = [
        {"when": {"n": str(n)}, "returns": {"n": n, "next": n + 1, "pad": PAD}}
        for n in range(1, LENGTHS[-1] + 1)
    ]
    counting = [
        rule
        for length in LENGTHS
        for rule in (
            {
                "when": {"last": "user", "matches": f"count to {length}$"},
                "call": {"name": f"next_{length}", "arguments": {"n": "1"}},
            },
            {
                "when": {"last": "tool", "tool": f"next_{length}", "matches": f'"n": ?{length},'},
                "say": "Counted.",
            },
            {
                "when": {"last": "tool", "tool": f"next_{length}"},
                "call": {"name": f"next_{length}", "arguments": {"n": "{result.next}"}},
            },
        )
    ]
    return json.dumps(
        {
            "rules": [
                {
                    "when": {"last": "user", "matches": "look up (?P<n>[0-9]+)"},
                    "call": {"name": "look_up", "arguments": {"n": "{n}"}},
                },
                {"when": {"last": "tool", "tool": "look_up"}, "say": "It is there."},
                {
                    "when": {"last": "user", "matches": "sleep"},
                    "say": "I have slept.",
                    "delay_ms": 1_000,
                },
                {
                    "when": {"last": "user", "matches": "divide"},
                    "calls": [
                        {"name": "ask_sleeper", "arguments": {"task": f"sleep {n}"}}
                        for n in range(SUB_AGENTS)
                    ],
                },
                {"when": {"last": "tool", "tool": "ask_sleeper"}, "say": "All have slept."},
                *counting,
            ],
            "tools": {"look_up": [{"returns": {"found": True}}]}
            | {f"next_{length}": rows for length in LENGTHS},
        }
    )
