"""What became of a run, and what may a person do about it: look, cancel, decide what it waits for, ask what if?"""

import queue
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

import typer

from schemas.agent import RunCancelled, RunFinished
from schemas.approvals import ApprovalAsked, ApprovalDecided, ApprovalRefused, ApprovalResolved
from schemas.base import Event
from streams import histories
from streams.client import Publisher, Watch, now
from streams.commands import forks, story
from streams.commands.common import AsJson, Problem, err, out, say_json, short, table, usd
from streams.commands.reach import codec_of, rows_of
from streams.config import settings

RUN = """SELECT * FROM runs WHERE run = {run:UUID} ORDER BY at LIMIT 1"""
SPANS = """SELECT name, operation, status, error_type, started_at, wait_ms, cost_usd, input_tokens, output_tokens, input,
       output FROM spans WHERE run = {run:UUID} ORDER BY started_at, at"""
VERDICTS = "SELECT stage, rule, action, enforced, findings FROM verdicts WHERE run = {run:UUID} ORDER BY at"
RUNS = """SELECT at, run, tenant, agent, session, outcome, reason, wait_ms, cost_usd, question FROM runs
WHERE ({tenant:String} = '' OR tenant = {tenant:String}) ORDER BY at DESC LIMIT {limit:UInt32}"""
PLACES = tuple(f"""SELECT tenant, session, min(started_at) AS since FROM {table} WHERE run = {{run:UUID}}
GROUP BY tenant, session LIMIT 1""" for table in ("spans", "runs"))
ANSWER_S = 20
Run = Annotated[UUID, typer.Argument(help="The run's id.")]

runs = typer.Typer(add_completion=False)


@runs.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """The newest runs, out of ClickHouse; or one of the commands below."""
    if context.invoked_subcommand is not None:
        return
    found = rows_of(settings(), RUNS, {"tenant": tenant, "limit": limit})
    if as_json:
        return say_json(found)
    columns = ("at", "run", "tenant", "agent", "outcome", "reason", "ms", "cost", "question")
    out.print(table("Runs", columns, [
        (f"{r['at']:%m-%d %H:%M:%S}", r["run"], r["tenant"], r["agent"], r["outcome"], r["reason"], r["wait_ms"],
         usd(r["cost_usd"]), short(r["question"], 60)) for r in found], numbers=("ms", "cost")))


@runs.command()
def show(
    run: Run,
    events: Annotated[bool, typer.Option("--events", help="Its story out of Kafka, also while it is under way.")] = False,
    as_json: AsJson = False,
) -> None:
    """Shows one run: its outcome, each step with what it took, and the guardrails' verdicts."""
    if events:
        return tell(run, as_json)
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


def tell(run: UUID, as_json: bool) -> None:
    """The story of a run, event by event."""
    found = history(run)
    if as_json:
        return say_json([{"event": type(event).__name__} | event.model_dump(mode="json") for event in found])
    for event in found:
        line = story.line(event)
        if line:
            out.print(f"{event.at:%H:%M:%S.%f} {line}", markup=False, soft_wrap=True)


@runs.command()
def cancel(run: Run, reason: Annotated[str, typer.Option(help="Why, for those who read of it.")] = "cancelled by hand",
           as_json: AsJson = False) -> None:
    """Ends a run wherever it stands: what it waits for, what it called, and the agents that it asked."""
    tenant, session, _ = place_of(run)
    over = rows_of(settings(), RUN, {"run": str(run)})
    if over:
        raise Problem(f"run {run} is over since {over[0]['at']:%Y-%m-%d %H:%M:%S}, it {over[0]['outcome']}: nothing was "
                      "cancelled")
    cancelled = RunCancelled(id=uuid4(), at=now(), tenant=tenant, session=session, run=run, reason=reason)
    ended = answer_to(cancelled, (RunFinished,), lambda event: event.run == run)
    if ended is None:
        raise Problem(f"run {run} has not ended within {ANSWER_S} s: it was over already (`./weir runs show {run}`), or a "
                      "worker is down (`./weir status`)")
    if as_json:
        return say_json({"run": run, "outcome": ended.outcome, "reason": ended.reason, "detail": ended.detail})
    out.print(f"run {run} {ended.outcome}: {ended.detail}", markup=False)


@runs.command()
def approve(
    run: Run,
    by: Annotated[str, typer.Option(help="Who decides: a name that the tool's approval lists.")],
    deny: Annotated[bool, typer.Option("--deny", help="Say no.")] = False,
    call: Annotated[str, typer.Option(help="Which call, where the run waits for several.")] = "",
    arguments: Annotated[str, typer.Option(help="JSON to use instead of the model's arguments.")] = "",
    note: Annotated[str, typer.Option(help="Why; the model reads it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Decides what a run waits for; without --call, the one call that does."""
    asked = waiting(history(run), call)
    decided = ApprovalDecided(id=uuid4(), at=now(), tenant=asked.tenant, session=asked.session, approval=asked.id, by=by,
                              decision="deny" if deny else "approve", arguments=arguments or None, note=note)
    said = answer_to(decided, (ApprovalResolved, ApprovalRefused), lambda event: event.approval == asked.id)
    if said is None:
        raise Problem(f"no word of approval {asked.id} came back within {ANSWER_S} s: `./weir status` tells which worker "
                      "is down; the decision is on Kafka and is not lost")
    if isinstance(said, ApprovalRefused):
        raise Problem(f"the decision changed nothing: {said.reason}. {said.detail}")
    if as_json:
        return say_json(said.model_dump(mode="json"))
    out.print(f"{said.tool} {said.status} by {said.by}", markup=False)


def waiting(events: list[Event], call: str = "") -> ApprovalAsked:
    """The one approval that nobody has decided. Raises Problem where there is none, or more than one."""
    over = {event.approval for event in events if isinstance(event, ApprovalResolved)}
    found = [event for event in events if isinstance(event, ApprovalAsked) and event.id not in over
             and call in ("", event.call)]
    if len(found) == 1:
        return found[0]
    names = "; ".join(f"--call {event.call} ({event.tool} {short(event.arguments, 60)}), for {', '.join(event.approvers)}"
                      for event in found)
    raise Problem(f"the run waits for {len(found)} approvals: choose with {names}" if found else
                  "the run waits for no approval" + (f" of call {call!r}" if call else "") + ": nothing was decided")


def answer_to(event: Event, classes: tuple[type[Event], ...], is_it: Any) -> Any:
    """Publishes an event and waits for the one that answers it; None where it does not come."""
    heard: queue.Queue[Event] = queue.Queue()
    codec = codec_of(settings())
    with Watch(settings(), codec, classes, lambda one: heard.put(one) if is_it(one) else None):
        publisher = Publisher(settings(), codec_of(settings()))
        publisher.publish(event)
        publisher.flush()
        try:
            return heard.get(timeout=ANSWER_S)
        except queue.Empty:
            return None


def history(run: UUID) -> list[Event]:
    """The run's events, out of Kafka. Raises Problem where nobody has heard of it."""
    tenant, session, since = place_of(run)
    return histories.of_run(histories.of_session(settings(), codec_of(settings()), tenant, session, since), run)


def place_of(run: UUID) -> tuple[str, str, datetime]:
    """The run's tenant, session, and since when there is something of it. A Problem where nobody has heard of it."""
    for place in PLACES:
        rows = rows_of(settings(), place, {"run": str(run)})
        if rows:
            return rows[0]["tenant"], rows[0]["session"], rows[0]["since"]
    raise Problem(f"nobody has heard of run {run}: rows arrive within seconds of its first step; `./weir runs` lists those "
                  "that are over")


runs.command()(forks.fork)
