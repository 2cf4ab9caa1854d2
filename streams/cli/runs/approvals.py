"""`weir approvals`, `approve`, `deny`, `cancel` and `signal`: decisions about runs."""

import getpass
import queue
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import typer

from schemas.events.agent.approvals import ApprovalDecided, ApprovalRefused, ApprovalResolved
from schemas.events.agent.runs import RunCancelled, RunFinished
from schemas.events.agent.signals import Signalled, SignalRefused
from schemas.events.base import Event
from sinks.clickhouse.queries.catalogue import by_name
from streams.cli.output import AsJson, err, out, say_json, short, table
from streams.cli.runs.run_history import place_of
from streams.config import settings
from streams.engine.client import Publisher, Watch, now
from streams.engine.errors import UserError
from streams.operations.connections import codec_of, rows_of

ANSWER_S = 20
REFUSED_S = 1
ASKED = (
    "SELECT tenant, session FROM approvals WHERE approval = {id:UUID} AND status = 'asked' LIMIT 1"
)
ENDED = "SELECT outcome, at FROM runs WHERE run = {id:UUID} LIMIT 1"

Approval = Annotated[
    UUID, typer.Argument(help="The approval's id, as `./weir approvals` shows it.")
]
By = Annotated[str, typer.Option(help="Who says so; you, unless given.")]
Role = Annotated[list[str], typer.Option(help="A role that they have; may be repeated.")]
Note = Annotated[
    str, typer.Option(help="What is to be said to it; the model reads the note of a no.")
]


def approvals(
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    as_json: AsJson = False,
) -> None:
    """Lists the calls that wait for somebody's word, the most urgent first."""
    query = by_name("open_approvals")
    found = rows_of(settings(), query.sql, query.parameters | {"tenant": tenant})
    if as_json:
        return say_json(found)
    if not found:
        return err.print("no call waits for anybody")
    out.print(
        table(
            "Approvals",
            ("approval", "tenant", "agent", "tool", "arguments", "who may", "until"),
            [
                (
                    r["approval"],
                    r["tenant"],
                    r["agent"],
                    r["tool"],
                    short(r["arguments"], 60),
                    ", ".join(r["approvers"]),
                    f"{r['expires_at']:%m-%d %H:%M}",
                )
                for r in found
            ],
        )
    )


def approve(
    approval: Approval,
    by: By = "",
    role: Role = [],
    note: Note = "",
    arguments: Annotated[
        str | None, typer.Option(help="JSON that takes the place of the model's arguments.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Lets a call that waits be made."""
    decide(approval, "approve", by, role, note, arguments, as_json)


def deny(
    approval: Approval,
    by: By = "",
    role: Role = [],
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Says no to a call that waits."""
    decide(approval, "deny", by, role, note, None, as_json)


def decide(
    approval: UUID,
    decision: Literal["approve", "deny"],
    by: str,
    roles: list[str],
    note: str,
    arguments: str | None,
    as_json: bool,
) -> None:
    found = rows_of(settings(), ASKED, {"id": str(approval)})
    if not found:
        raise UserError(
            f"there is no approval {approval}: `./weir approvals` lists those that wait"
        )
    by, note = signed(by, note, getpass.getuser())
    word = ApprovalDecided(
        id=uuid4(),
        at=now(),
        approval=approval,
        by=by,
        roles=tuple(roles),
        decision=decision,
        note=note,
        arguments=arguments,
        **found[0],
    )
    answer = publish(
        word, (ApprovalResolved, ApprovalRefused), lambda event: event.cause == word.id
    )
    if as_json and answer is not None:
        say_json(answer.model_dump(mode="json"))
    if isinstance(answer, ApprovalRefused):
        raise UserError(f"that word does not count ({answer.reason}): {answer.detail}")
    err.print(
        f"{decision} of {approval} is on Kafka, and not answered yet: `./weir status` tells "
        "which worker is down"
        if answer is None
        else f"{answer.status} by {answer.by} after {answer.wait_ms / 1000:.0f} s"
    )


def signed(by: str, note: str, me: str) -> tuple[str, str]:
    """Whose word it is, and its note. Who may write to Kafka may write any name, so the note tells
    who wrote another.
    """
    return by or me, note if by in ("", me) else ": ".join(filter(None, (f"typed by {me}", note)))


def cancel(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ends a run that is under way, the agents that it asked, the approvals that it waits for, and
    what it asks of models.
    """
    over = rows_of(settings(), ENDED, {"id": str(run)})
    if over:
        raise UserError(
            f"run {run} is over already: {over[0]['outcome']} at "
            f"{over[0]['at']:%Y-%m-%d %H:%M:%S} UTC"
        )
    tenant, session, _ = place_of(run)
    word = RunCancelled(
        id=uuid4(), at=now(), tenant=tenant, session=session, run=run, reason=reason
    )
    ended = publish(word, (RunFinished,), lambda event: event.run == run)
    if ended is None:
        raise UserError(
            f"run {run} did not end: `./weir show {run}` tells whether it was over before, "
            "`./weir status` which worker is down"
        )
    if as_json:
        say_json(ended.model_dump(mode="json"))
    err.print(f"run {run} {ended.outcome} after {ended.wait_ms / 1000:.0f} s")


def signal(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    name: Annotated[
        str, typer.Argument(help="What happened, as the node of the workflow names it.")
    ],
    payload: Annotated[
        str, typer.Option(help="JSON, or a text: the result of the node that waits.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Tells the session of a run that something happened outside, for the workflow that waits for
    it.
    """
    tenant, session, _ = place_of(run)
    word = Signalled(
        id=uuid4(), at=now(), tenant=tenant, session=session, name=name, payload=payload
    )
    refused = publish(word, (SignalRefused,), lambda event: event.cause == word.id, REFUSED_S)
    if refused is not None:
        raise UserError(f"the signal was not kept ({refused.reason}): {refused.detail}")
    if as_json:
        say_json(word.model_dump(mode="json"))
    err.print(
        f"signal {name!r} is on Kafka for session {word.session}: the node that waits for it "
        "goes on"
    )


def publish(
    word: Event, answers: tuple[type[Event], ...], is_answer: Any, wait_s: float = ANSWER_S
) -> Any:
    """Publishes a word and waits for what it leads to; None where that does not come in time."""
    codec = codec_of(settings())
    heard = queue.Queue[Event]()
    with Watch(
        settings(), codec, answers, lambda event: heard.put(event) if is_answer(event) else None
    ):
        publisher = Publisher(settings(), codec)
        publisher.publish(word)
        publisher.flush()
        try:
            return heard.get(timeout=wait_s)
        except queue.Empty:
            return None
