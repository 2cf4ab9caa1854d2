"""`weir runs` and `weir show`: lists the newest runs and shows one."""

import json
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from streams.cli.output import AsJson, out, say_json, short, table
from streams.cli.runs import approvals, forks, run_story
from streams.cli.runs.run_history import history
from streams.config import settings
from streams.engine.errors import UserError
from streams.operations.connections import rows_of
from streams.operations.figures import spent, usd

RUN = """SELECT * FROM runs WHERE run = {run:UUID} ORDER BY at LIMIT 1"""
SPANS = """SELECT name, operation, status, error_type, started_at, wait_ms, cost_usd, input_tokens,
       output_tokens, input, output
FROM spans WHERE run = {run:UUID} ORDER BY started_at, at"""
VERDICTS = (
    "SELECT stage, rule, action, enforced, findings FROM verdicts WHERE run = {run:UUID} "
    "ORDER BY at"
)
RUNS = """SELECT at, run, tenant, agent, session, outcome, reason, wait_ms, cost_usd, question
FROM runs
WHERE ({tenant:String} = '' OR tenant = {tenant:String}) ORDER BY at DESC LIMIT {limit:UInt32}"""
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
    out.print(
        table(
            "Runs",
            columns,
            [
                (
                    f"{r['at']:%m-%d %H:%M:%S}",
                    r["run"],
                    r["tenant"],
                    r["agent"],
                    r["outcome"],
                    r["reason"],
                    r["wait_ms"],
                    usd(r["cost_usd"]),
                    short(r["question"], 60),
                )
                for r in found
            ],
            numbers=("ms", "cost"),
        )
    )


@runs.command()
def show(
    run: Run,
    events: Annotated[
        bool, typer.Option("--events", help="Its story out of Kafka, also while it is under way.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Shows one run: its outcome, each step with what it took, and the guardrails' verdicts."""
    if events:
        return tell(run, as_json)
    found = rows_of(settings(), RUN, {"run": str(run)})
    if not found:
        raise UserError(
            f"there is no finished run {run} in ClickHouse (rows arrive within seconds of the "
            "run's end): "
            "`./weir runs` lists what is there"
        )
    spans = rows_of(settings(), SPANS, {"run": str(run)})
    verdicts = rows_of(settings(), VERDICTS, {"run": str(run)})
    if as_json:
        return say_json({"run": found[0], "spans": spans, "verdicts": verdicts})
    print_run(found[0], spans, verdicts)


def print_run(
    run: dict[str, Any], spans: list[dict[str, Any]], verdicts: list[dict[str, Any]]
) -> None:
    out.print(
        Text.assemble(
            (str(run["agent"]), "bold"),
            f"@{run['agent_version']} for {run['tenant']}, session {run['session']}: ",
            (str(run["outcome"]), "bold"),
            f" {run['reason']} in {run['wait_ms']} ms, ",
            spent(run["cost_usd"], run["total_cost_usd"]),
        )
    )
    out.print(f"Q: {run['question']}", markup=False)
    out.print(f"A: {run['answer']}", markup=False)
    for field, key in json.loads(run.get("bodies") or "{}").items():
        out.print(
            f"That is the beginning of the {'question' if field == 'text' else field}: ./weir "
            f"objects show {key}",
            markup=False,
            soft_wrap=True,
        )
    began = min((span["started_at"] for span in spans), default=run["at"])
    out.print(
        table(
            "Steps",
            ("at ms", "span", "status", "ms", "tokens in/out", "cost", "output"),
            [
                (
                    int((span["started_at"] - began).total_seconds() * 1000),
                    span["name"],
                    span["error_type"] or span["status"],
                    span["wait_ms"],
                    f"{span['input_tokens']}/{span['output_tokens']}"
                    if span["input_tokens"]
                    else "",
                    usd(span["cost_usd"]) if span["operation"] == "chat" else "",
                    short(span["output"], 80),
                )
                for span in spans
            ],
            numbers=("at ms", "ms"),
        )
    )
    if verdicts:
        out.print(
            table(
                "Guardrails",
                ("stage", "rule", "action", "enforced", "findings"),
                [tuple(v.values()) for v in verdicts],
            )
        )


def tell(run: UUID, as_json: bool) -> None:
    """The story of a run, event by event."""
    found = history(run)
    if as_json:
        return say_json(
            [{"event": type(event).__name__} | event.model_dump(mode="json") for event in found]
        )
    for event in found:
        line = run_story.line(event)
        if line:
            out.print(f"{event.at:%H:%M:%S.%f} {line}", markup=False, soft_wrap=True)


for command in (forks.fork, approvals.cancel, approvals.approve, approvals.deny):
    runs.command()(command)
