"""`weir demo`: the stack, sample definitions and twenty requests, with their results."""

import threading
import time
from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from schemas.events.agent.runs import AgentRequested, RequestRefused, RunFinished
from schemas.events.base import Event
from streams import app
from streams.cli.operate.stack import print_ports, start_with_progress
from streams.cli.output import AsJson, err, out, progress, say_json, short, table
from streams.cli.runs.ask import show_event
from streams.config import settings
from streams.definitions import yaml_files
from streams.engine.client import Client, Watch, request
from streams.engine.errors import UserError
from streams.lab.replay.run_history import session_events
from streams.operations.connections import codec_of, rows_of
from streams.operations.figures import usd

TABLES = ("runs", "spans", "token_usage", "usage_by_minute", "verdicts", "dead_letters")


def demo(
    once: Annotated[bool, typer.Option("--once", help="End by itself, with 0 or 1.")] = False,
    as_json: AsJson = False,
) -> None:
    """Starts the stack, applies the sample company, sends twenty requests, and shows what became of
    them.
    """
    began = time.monotonic()
    was_up = app.is_up(settings())
    if not was_up:
        start_with_progress(settings())
    try:
        result = show_company(began)
        if as_json:
            say_json(result)
        if once:
            raise typer.Exit(
                0
                if result["requests"] == sum(result[k] for k in ("completed", "refused", "blocked"))
                and result["completed"]
                else 1
            )
        print_ports(settings())
        err.print(
            "The stack is up. Ctrl-C stops it."
            if not was_up
            else "The stack was up before, and stays up."
        )
        if not was_up:
            threading.Event().wait()
    except KeyboardInterrupt:
        err.print("stopping")
    finally:
        if not was_up:
            app.stop(settings())


def show_company(began: float) -> dict[str, Any]:
    """Sends the company's requests and prints what became of them; the facts as a dict."""
    from streams.definitions.folder import load
    from streams.operations.deploy import apply_and_wait

    codec = codec_of(settings())
    company = load(app.COMPANY)
    apply_and_wait(settings(), company)
    texts = yaml_files.read_text(app.COMPANY / "requests.yaml")
    asked = [request(**fields) for fields in yaml_files.load(texts)]
    events: Counter[str] = Counter()
    first_answer: list[float] = []

    def heard(event: Event) -> None:
        if isinstance(event, RunFinished) and event.outcome == "completed" and not first_answer:
            first_answer.append(time.monotonic() - began)

    def count(event: Event) -> None:
        events[type(event).__name__] += 1
        show_event(event, asked[0].id)

    title = ("The events of one run, as they happen", "bold")
    err.print(Text.assemble(title, f" ({short(asked[0].text, 80)})"))
    with (
        Client(settings(), codec, heard) as client,
        Watch(settings(), codec, session_events(), count),
    ):
        outcomes = send_all(client, asked)
        threading.Event().wait(0.5)  # events of the last runs come on several topics
    print_outcomes(asked, outcomes)
    kinds = Counter(outcome_of(outcomes.get(one.id)) for one in asked)
    rows = await_rows({one.id for one in asked if isinstance(outcomes.get(one.id), RunFinished)})
    print_sql()
    return {
        "requests": len(asked),
        **{kind: kinds[kind] for kind in ("completed", "refused", "blocked", "failed")},
        "lost": kinds["lost"],
        "first_answer_s": round(first_answer[0], 2) if first_answer else None,
        "events": dict(events),
        "rows": rows,
    }


def send_all(client: Client, asked: list[AgentRequested]) -> dict[UUID, Event]:
    """Sends the first request by itself, so that its events can be followed, then all others."""
    client.ask(asked[0], 60)
    client.publish(*asked[1:])
    client.flush()
    with progress("runs", len(asked)) as update:
        deadline = time.monotonic() + 60
        outcomes: dict[UUID, Event] = {}
        while len(outcomes) < len(asked) and time.monotonic() < deadline:
            outcomes = client.wait([one.id for one in asked], 0.2)
            update(len(outcomes))
    return outcomes


def outcome_of(event: Event | None) -> str:
    match event:
        case RunFinished(outcome="completed" | "blocked" as outcome):
            return outcome
        case RunFinished():
            return "failed"
        case RequestRefused():
            return "refused"
    return "lost"


def print_outcomes(asked: list[AgentRequested], outcomes: dict[UUID, Event]) -> None:
    rows = []
    for one in asked:
        event = outcomes.get(one.id)
        match event:
            case RunFinished():
                said = (
                    event.answer
                    if event.outcome == "completed"
                    else f"{event.reason} {event.detail}"
                )
                rows.append(
                    (
                        one.tenant,
                        short(one.text, 50),
                        event.outcome,
                        short(said, 90),
                        event.wait_ms,
                        usd(event.cost_usd),
                    )
                )
            case RequestRefused():
                rows.append(
                    (
                        one.tenant,
                        short(one.text, 50),
                        "refused",
                        f"{event.reason}: {event.detail}",
                        "",
                        "",
                    )
                )
            case _:
                rows.append((one.tenant, short(one.text, 50), "no outcome", "", "", ""))
    out.print(
        table(
            "What became of the requests",
            ("tenant", "asked", "outcome", "answer, or why not", "ms", "cost"),
            rows,
            numbers=("ms", "cost"),
        )
    )


def await_rows(runs: set[UUID], timeout_s: float = 20) -> dict[str, int]:
    """Waits until these runs are in ClickHouse, and counts the rows of each table."""
    deadline = time.monotonic() + timeout_s
    wanted = {"runs": [str(run) for run in runs]}
    while time.monotonic() < deadline:
        found = rows_of(
            settings(), "SELECT count() AS n FROM runs WHERE run IN {runs:Array(UUID)}", wanted
        )[0]["n"]
        if found >= len(runs):
            return {
                name: rows_of(settings(), f"SELECT count() AS n FROM {name}")[0]["n"]
                for name in TABLES
            }
        threading.Event().wait(0.1)
    raise UserError(
        f"not all runs came to ClickHouse within {timeout_s:.0f} s: see "
        ".weir/log/sink-clickhouse-0.log"
    )


def print_sql() -> None:
    err.print("Look further", style="bold")
    for words in (
        './weir query "SELECT tenant, agent, sum(cost_usd) AS cost FROM token_usage GROUP BY ALL"',
        "./weir query --named                  # ready queries",
        "./weir runs                           # then: ./weir show RUN",
        "./weir top                            # live",
    ):
        err.print("  " + words, markup=False)
