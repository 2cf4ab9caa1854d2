"""Measures the whole stack: latency, time to queryable, recovery, memory and start.

A stack of its own on free ports, with a model and a tool that answer at once.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from infra.embedded import stack
from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant, Tool
from schemas.definitions.prices import Price
from schemas.definitions.tools import HttpTarget
from schemas.events.agent.runs import AgentRequested, RequestRefused, RunFinished
from schemas.events.base import Event
from streams import app
from streams.config import Settings
from streams.definitions.folder import Company
from streams.engine.client import Client, request
from streams.lab.bench_engine.broker import MeasurementError, measured
from streams.lab.chaos import kill_plan
from streams.lab.isolated_stack import own_settings
from streams.operations.connections import codec_of, rows_of
from streams.operations.deploy import apply_and_wait

RUNS_A_SECOND = 5
KILLED = "stage-session-0"
KILLS = 30
BACK_WITHIN_S = 40
TENANT = "bench"
AGENT = "clerk"
SCRIPT = """
rules:
  - when: {last: user, matches: "look up (?P<number>[0-9]+)"}
    call: {name: look_up, arguments: {number: "{number}"}}
  - when: {last: tool, tool: look_up}
    say: "It is there."
tools:
  look_up:
    - {returns: {found: true}}
"""
DELAYS = """
SELECT quantileExact(0.99)(dateDiff('millisecond', at, landed_at)) / 1000 AS p99_s, count() AS rows
FROM runs WHERE tenant = {tenant:String}
"""


def measure(
    home: Path, seconds: float, say: Callable[[str], None], kills: int = KILLS
) -> dict[str, float]:
    """The figures of `result_*_ms`, `queryable_p99_s`, `resume_*_s`, `resident_gb`, `ready_s`."""
    say("the whole stack: first start")
    with running(home):
        pass  # a first start downloads and fills caches, which is not measured
    say("the whole stack: warm start")
    began = time.monotonic()
    with running(home) as ours:
        ready_s = time.monotonic() - began
        url = f"http://127.0.0.1:{ours.services_port}"
        apply_and_wait(ours, Company(definitions(url), ()))
        finished: dict[UUID, float] = {}
        with Client(ours, codec_of(ours), noting(finished)) as client:
            say(f"{RUNS_A_SECOND} runs a second")
            waits = ask_steadily(client, finished, seconds)
            found = {
                "ready_s": ready_s,
                "result_p50_ms": measured(waits, 0.5),
                "result_p99_ms": measured(waits, 0.99),
                "queryable_p99_s": queryable_p99_s(ours, len(waits)),
            }
            found["resident_gb"] = resident_bytes(ours.home.resolve()) / 1e9
            resumed = kill_and_wait(ours, client, kills, say)
    return found | (
        {"resume_p50_s": measured(resumed, 0.5), "resume_max_s": max(resumed)} if resumed else {}
    )


def noting(finished: dict[UUID, float]) -> Callable[[Event], None]:
    """A listener that notes when the outcome of each run came first."""

    def note(event: Event) -> None:
        if isinstance(event, RunFinished | RequestRefused):
            finished.setdefault(event.run, time.monotonic())

    return note


@contextmanager
def running(home: Path, rules: str = SCRIPT) -> Iterator[Settings]:
    """A whole stack in `home`, which is emptied first; `rules` is the model's script."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    script = home / "script.yaml"
    script.write_text(rules)
    ours = own_settings(home)
    app.start(ours, lambda done, total, words: None, slots=1, script=script)
    try:
        yield ours
    finally:
        app.stop(ours)
        shutil.rmtree(home, ignore_errors=True)


def definitions(url: str) -> list[Definition]:
    """A tenant without a quota, an agent with one tool."""
    tool = Tool(
        name="look_up",
        description="Looks a number up.",
        target=HttpTarget(url=f"{url}/tools/look_up"),
        effect="pure",
        parameters={
            "type": "object",
            "properties": {"number": {"type": "string"}},
            "required": ["number"],
        },
    )
    model = Model(
        name="scripted",
        provider="scripted",
        base_url=f"{url}/v1",
        upstream="scripted",
        price=Price(input=Decimal(1), output=Decimal(2)),
    )
    return [
        Tenant(name=TENANT, requests_per_minute=1_000_000, burst=100_000, concurrent_runs=100_000),
        tool,
        model,
        Agent(
            name=AGENT,
            prompt="Look up what you are asked for.",
            model="scripted",
            tools=("look_up",),
        ),
    ]


def asked(number: int) -> AgentRequested:
    return request(TENANT, AGENT, f"look up {number}")


def ask_steadily(
    client: Client,
    finished: dict[UUID, float],
    seconds: float,
    asked: Callable[[int], AgentRequested] = asked,
) -> list[float]:
    """Milliseconds from publishing each request until a consumer has its outcome.

    The client's listener fills `finished`. Raises MeasurementError.
    """
    sent: dict[UUID, float] = {}
    client.ask(asked(0))  # connections are made, code is loaded
    pause = threading.Event()
    began = time.monotonic()
    for number in range(1, int(seconds * RUNS_A_SECOND) + 1):
        pause.wait(max(0.0, began + number / RUNS_A_SECOND - time.monotonic()))
        one = asked(number)
        sent[one.id] = time.monotonic()
        client.publish(one)
        client.flush()
    outcomes = client.wait(sent, 60)
    failed = [
        event
        for event in outcomes.values()
        if not isinstance(event, RunFinished) or event.outcome != "completed"
    ]
    if failed or len(outcomes) < len(sent):
        raise MeasurementError(
            f"{len(sent) - len(outcomes)} of {len(sent)} runs had no outcome and {len(failed)} did "
            "not complete" + (f", e.g. {failed[0]!r}" if failed else "")
        )
    return [(finished[run] - at) * 1000 for run, at in sent.items()]


def queryable_p99_s(settings: Settings, least: int) -> float:
    """Seconds from an event to its row, once all of the runs are in the table."""
    deadline = time.monotonic() + 30
    row = {"rows": 0}
    while time.monotonic() < deadline:
        row = rows_of(settings, DELAYS, {"tenant": TENANT})[0]
        if row["rows"] >= least:
            return row["p99_s"]
        time.sleep(0.2)
    raise MeasurementError(
        f"only {row['rows']} of {least} runs came to ClickHouse within 30 s: "
        "see sink-clickhouse's log"
    )


def resident_bytes(home: Path) -> int:
    """Resident memory of the supervisor and of every process below it."""
    parents = {}
    resident = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(
                line.split(":", 1) for line in status.read_text().splitlines() if ":" in line
            )
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process ended meanwhile
        parents[int(fields["Pid"])] = int(fields["PPid"])
        resident[int(fields["Pid"])] = int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
    family = {stack.status(home)["pid"]}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(resident.get(pid, 0) for pid in family)


def kill_and_wait(
    settings: Settings, client: Client, kills: int, say: Callable[[str], None]
) -> list[float]:
    """Seconds from each SIGKILL of the session stage until all its partitions moved again."""
    moves = kill_plan.ProgressMonitor(settings)
    stopped = threading.Event()
    moves.start()
    load = threading.Thread(target=_load, args=(client, stopped), daemon=True)
    load.start()
    killed = []
    try:
        for number in range(kills):
            time.sleep(3)  # every partition moves, and the supervisor counts the worker as healthy
            say(f"kill {number + 1} of {kills}")
            killed.append(kill_plan.Kill(KILLED, time.time()))
            stack.kill(settings.home.resolve(), KILLED)
            _await_moved(killed, moves)
    finally:
        stopped.set()
        load.join(10)
        moves.stop()
    return [kill.resumed_s for kill in killed if kill.resumed_s is not None]


def _await_moved(killed: list[kill_plan.Kill], moves: kill_plan.ProgressMonitor) -> None:
    deadline = time.monotonic() + BACK_WITHIN_S
    while time.monotonic() < deadline:
        kill_plan.measure_resumes(killed[-1:], moves)
        if killed[-1].resumed_s is not None and killed[-1].resumed_s != float("inf"):
            return
        time.sleep(0.05)
    raise MeasurementError(
        f"{KILLED} did not move within {BACK_WITHIN_S} s after kill {len(killed)}: see its log"
    )


def _load(client: Client, stopped: threading.Event) -> None:
    number = 1_000_000
    while not stopped.wait(0.05):
        client.publish(asked(number))
        client.flush()
        number += 1
