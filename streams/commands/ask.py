"""What does a person do with one request: send it, list the runs, look at one, say what they think of it?"""

import threading
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer

from schemas.agent import RequestRefused, RunFinished
from schemas.base import Event
from schemas.feedback import FeedbackGiven
from streams.client import Client, Publisher, Watch, now, request
from streams.commands.common import AsJson, Problem, err, out, say_json, short, table, usd
from streams.commands.reach import codec_of, rows_of
from streams.config import settings
from streams.topology import PIPELINE
from streams.shapes import kinds

RUN = """SELECT * FROM runs WHERE run = {run:UUID} ORDER BY at LIMIT 1"""
SPANS = """SELECT name, operation, status, error_type, started_at, wait_ms, cost_usd, input_tokens, output_tokens, input,
       output FROM spans WHERE run = {run:UUID} ORDER BY started_at, at"""
VERDICTS = "SELECT stage, rule, action, enforced, findings FROM verdicts WHERE run = {run:UUID} ORDER BY at"
RUNS = """SELECT at, run, tenant, agent, session, outcome, reason, wait_ms, cost_usd, question FROM runs
WHERE ({tenant:String} = '' OR tenant = {tenant:String}) ORDER BY at DESC LIMIT {limit:UInt32}"""


def send(
    tenant: Annotated[str, typer.Argument(help="Who asks.")],
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    text: Annotated[str, typer.Argument(help="What is asked.")],
    session: Annotated[str, typer.Option(help="Go on with this conversation.")] = "",
    user: Annotated[str, typer.Option(help="On whose behalf.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Show the run's events as they happen.")] = False,
    timeout: Annotated[float, typer.Option(help="Longest wait for the outcome, in seconds.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Sends one request and waits for its outcome."""
    codec = codec_of(settings())
    asked = request(tenant, agent, text, session=session, user=user or None)
    with Client(settings(), codec) as client:
        if follow:
            with Watch(settings(), codec, session_events(), lambda event: show_event(event, asked.id)):
                outcome = client.ask(asked, timeout)
                threading.Event().wait(0.2)  # the last events of the run come on other topics than its outcome
        else:
            outcome = client.ask(asked, timeout)
    if outcome is None:
        raise Problem(f"no outcome of run {asked.id} within {timeout:.0f} s. It is not lost: `./weir show {asked.id}` "
                      "later, and `./weir status` tells which worker is down")
    if as_json:
        say_json(outcome.model_dump(mode="json"))
    else:
        print_outcome(outcome)


def session_events() -> list[type[Event]]:
    """Every class of a session that a step of the pipeline reads or writes."""
    classes = {kind for step in PIPELINE for kind in (*kinds(step.reads), *kinds(step.writes))}
    return sorted((kind for kind in classes if kind.key == "session"), key=lambda kind: kind.__name__)


def show_event(event: Event, run: UUID) -> None:
    """One line for an event of a run, on stderr."""
    if getattr(event, "run", None) != run:
        return
    facts = event.model_dump(mode="json", exclude_defaults=True,
                             exclude={"id", "at", "tenant", "cause", "session", "run", "agent", "agent_version"})
    err.print(f"  [dim]{event.at:%H:%M:%S.%f}[/dim] [bold]{type(event).__name__:<16}[/bold] {short(str(facts), 150)}",
              markup=True, soft_wrap=True)


def print_outcome(outcome: Event) -> None:
    match outcome:
        case RunFinished():
            out.print(outcome.answer or f"{outcome.outcome}: {outcome.reason} {outcome.detail}", markup=False)
            err.print(f"[dim]run {outcome.run} {outcome.outcome} in {outcome.wait_ms} ms, {outcome.model_calls} model and "
                      f"{outcome.tool_calls} tool calls, {usd(outcome.cost_usd)}[/dim]")
        case RequestRefused():
            out.print(f"refused: {outcome.reason}. {outcome.detail}", markup=False)


def runs(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Lists the newest runs, out of ClickHouse."""
    found = rows_of(settings(), RUNS, {"tenant": tenant, "limit": limit})
    if as_json:
        return say_json(found)
    columns = ("at", "run", "tenant", "agent", "outcome", "reason", "ms", "cost", "question")
    out.print(table("Runs", columns, [
        (f"{r['at']:%m-%d %H:%M:%S}", r["run"], r["tenant"], r["agent"], r["outcome"], r["reason"], r["wait_ms"],
         usd(r["cost_usd"]), short(r["question"], 60)) for r in found], numbers=("ms", "cost")))


def show(run: Annotated[UUID, typer.Argument(help="The run's id.")], as_json: AsJson = False) -> None:
    """Shows one run: its outcome, each step with what it took, and the guardrails' verdicts."""
    found = rows_of(settings(), RUN, {"run": str(run)})
    if not found:
        raise Problem(f"there is no finished run {run} in ClickHouse (rows arrive within seconds of the run's end): "
                      "`./weir runs` lists what is there")
    spans = rows_of(settings(), SPANS, {"run": str(run)})
    verdicts = rows_of(settings(), VERDICTS, {"run": str(run)})
    if as_json:
        return say_json({"run": found[0], "spans": spans, "verdicts": verdicts})
    print_run(found[0], spans, verdicts)


def print_run(run: dict[str, Any], spans: list[dict[str, Any]], verdicts: list[dict[str, Any]]) -> None:
    out.print(f"[bold]{run['agent']}[/bold]@{run['agent_version']} for {run['tenant']}, session {run['session']}: "
              f"[bold]{run['outcome']}[/bold] {run['reason']} in {run['wait_ms']} ms, {usd(run['cost_usd'])}")
    out.print(f"Q: {run['question']}", markup=False)
    out.print(f"A: {run['answer']}", markup=False)
    began = min((span["started_at"] for span in spans), default=run["at"])
    out.print(table("Steps", ("at ms", "span", "status", "ms", "tokens in/out", "cost", "output"), [
        (int((span["started_at"] - began).total_seconds() * 1000), span["name"], span["error_type"] or span["status"],
         span["wait_ms"], f"{span['input_tokens']}/{span['output_tokens']}" if span["input_tokens"] else "",
         usd(span["cost_usd"]) if span["operation"] == "chat" else "", short(span["output"], 80))
        for span in spans], numbers=("at ms", "ms")))
    if verdicts:
        out.print(table("Guardrails", ("stage", "rule", "action", "enforced", "findings"),
                        [tuple(v.values()) for v in verdicts]))


def feedback(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    score: Annotated[float, typer.Argument(help="From -1 (bad) to 1 (good).", min=-1, max=1)],
    comment: Annotated[str, typer.Option(help="Why.")] = "",
    user: Annotated[str, typer.Option(help="Who says so.")] = "",
) -> None:
    """Says what somebody thinks of a run."""
    found = rows_of(settings(), RUN, {"run": str(run)})
    if not found:
        raise Problem(f"there is no finished run {run}: `./weir runs` lists what is there")
    publisher = Publisher(settings(), codec_of(settings()))
    publisher.publish(FeedbackGiven(id=uuid4(), at=now(), tenant=found[0]["tenant"], session=found[0]["session"], run=run,
                                    score=score, comment=comment, user=user or None, source="cli"))
    publisher.flush()
    err.print(f"feedback on {run} is on Kafka; it joins its run within a second")
