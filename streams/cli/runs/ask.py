"""`weir send` and `weir feedback`: one request and an opinion on its run."""

import sys
import threading
from contextlib import ExitStack
from typing import Annotated
from uuid import UUID, uuid4

import typer
from rich.text import Text

from schemas.events.agent.approvals import UserAsked
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event
from schemas.events.feedback import FeedbackGiven
from schemas.events.model_chunks import ModelChunk
from streams.cli.output import AsJson, err, out, say_json, short
from streams.cli.runs.live_text import Screen, on_screen
from streams.config import settings
from streams.engine.client import Client, Publisher, Watch, now, request
from streams.engine.errors import UserError
from streams.lab.replay.run_history import session_events
from streams.operations.connections import codec_of, rows_of
from streams.operations.figures import spent

RUN = """SELECT * FROM runs WHERE run = {run:UUID} ORDER BY at LIMIT 1"""


def send(
    tenant: Annotated[str, typer.Argument(help="Who asks.")],
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    text: Annotated[str, typer.Argument(help="What is asked.")],
    session: Annotated[str, typer.Option(help="Go on with this conversation.")] = "",
    user: Annotated[str, typer.Option(help="On whose behalf.")] = "",
    metadata: Annotated[
        list[str], typer.Option("--metadata", "-m", help="name=value, e.g. feature=orders.")
    ] = [],
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the run's events as they happen.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show what the model says while it says it.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Longest wait for the outcome, in seconds.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Sends one request and waits for its outcome."""
    codec = codec_of(settings())
    if wrong := [part for part in metadata if "=" not in part]:
        raise UserError(f"--metadata {wrong[0]!r} is no name=value: write e.g. feature=orders")
    asked = request(
        tenant,
        agent,
        text,
        session=session,
        user=user or None,
        metadata=dict(part.split("=", 1) for part in metadata),
    )
    screen = Screen(sys.stdout if stream and not as_json else None)
    show = on_screen(screen, asked.id)

    def heard(event: Event) -> None:
        if isinstance(event, ModelChunk):
            show(event)
        else:
            screen.end_line()
            show_event(event, asked.id)

    classes = [*(session_events() if follow else ()), *([ModelChunk] if stream else ())]
    with Client(settings(), codec, asks=True) as client, ExitStack() as stack:
        if classes:
            stack.enter_context(Watch(settings(), codec, classes, heard))
        outcome = client.ask(asked, timeout)
        threading.Event().wait(
            0.2 if follow else 0
        )  # a run's last events come on other topics than its outcome
    if outcome is None:
        raise UserError(
            f"no outcome of run {asked.id} within {timeout:.0f} s. It is not lost: `./weir show "
            f"{asked.id}` "
            "later, and `./weir status` tells which worker is down"
        )
    if as_json:
        say_json(outcome.model_dump(mode="json"))
    else:
        print_outcome(outcome, answer=not screen.has(outcome))


def show_event(event: Event, run: UUID) -> None:
    """One line for an event of a run, on stderr."""
    if getattr(event, "run", None) != run:
        return
    facts = event.model_dump(
        mode="json",
        exclude_defaults=True,
        exclude={"id", "at", "tenant", "cause", "session", "run", "agent", "agent_version"},
    )
    err.print(
        Text.assemble(
            (f"  {event.at:%H:%M:%S.%f} ", "dim"),
            (f"{type(event).__name__:<16} ", "bold"),
            short(str(facts), 150),
        ),
        soft_wrap=True,
    )


def print_outcome(outcome: Event, answer: bool = True) -> None:
    """How a run ended; its answer too, unless that was read already."""
    match outcome:
        case RunFinished():
            done = outcome.outcome == "completed"
            if answer or not done:
                out.print(
                    outcome.answer
                    if done
                    else ": ".join(filter(None, (outcome.outcome, outcome.reason, outcome.detail))),
                    markup=False,
                )
            if outcome.answer and not done:
                err.print(
                    f"its last text, which is no answer: {short(outcome.answer, 300)}", markup=False
                )
            err.print(
                f"run {outcome.run} {outcome.outcome} in {outcome.wait_ms} ms, "
                f"{outcome.model_calls} model and "
                f"{outcome.tool_calls} tool calls, "
                f"{spent(outcome.cost_usd, outcome.total.total_cost_usd)}",
                style="dim",
            )
        case UserAsked():
            choice = f" ({' | '.join(outcome.options)})" if outcome.options else ""
            out.print(f"{outcome.question}{choice}", markup=False)
            err.print(
                f"run {outcome.run} waits for the answer: `./weir send` it with --session "
                f"{outcome.session}",
                style="dim",
            )
        case RequestRefused():
            out.print(f"refused: {outcome.reason}. {outcome.detail}", markup=False)


def feedback(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    score: Annotated[float, typer.Argument(help="From -1 (bad) to 1 (good).", min=-1, max=1)],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    user: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Says what somebody thinks of a run."""
    found = rows_of(settings(), RUN, {"run": str(run)})
    if not found:
        raise UserError(f"there is no finished run {run}: `./weir runs` lists what is there")
    publisher = Publisher(settings(), codec_of(settings()))
    publisher.publish(
        FeedbackGiven(
            id=uuid4(),
            at=now(),
            tenant=found[0]["tenant"],
            session=found[0]["session"],
            run=run,
            score=score,
            comment=comment,
            user=user or None,
            source="cli",
        )
    )
    publisher.flush()
    err.print(f"feedback on {run} is on Kafka; it joins its run within a second")
