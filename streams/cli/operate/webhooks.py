"""`weir webhooks`: deliveries, and sending again what was given up."""

import base64
import secrets
from typing import Annotated
from uuid import UUID

import typer

from schemas.events.base import derived_id
from schemas.events.webhooks import Webhook, WebhookDue
from streams.cli.output import AsJson, err, out, say_json, short, table
from streams.config import settings
from streams.engine import definitions_topic
from streams.engine.client import Publisher, now
from streams.engine.errors import UserError
from streams.operations.connections import codec_of, rows_of

webhooks = typer.Typer(no_args_is_help=True, add_completion=False)
SECRET_BYTES = 32
COUNTS = """SELECT webhook, countIf(status = 'delivered') AS delivered,
       countIf(status = 'failed') AS failed_attempts,
       countIf(status = 'dropped') AS dropped, max(at) AS newest FROM webhook_deliveries
WHERE at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR GROUP BY webhook"""
DROPPED = """SELECT at, tenant, session, run, webhook, webhook_version, message, type, attempt,
    reason, detail, body
FROM webhook_deliveries WHERE status = 'dropped' AND message NOT IN (
    SELECT message FROM webhook_deliveries WHERE status = 'delivered')
ORDER BY at DESC LIMIT 1 BY message LIMIT 200"""


@webhooks.command(
    "secret", help="Print a new secret; export it where the call runners start and at the receiver."
)
def secret() -> None:
    out.print(
        "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode(), soft_wrap=True
    )


@webhooks.command("list", help="The webhooks in force, and what was delivered.")
def listed(
    hours: Annotated[int, typer.Option(help="Of how many hours.", min=1)] = 24,
    as_json: AsJson = False,
) -> None:
    known = definitions_topic.read_all(settings(), codec_of(settings())).in_force(Webhook)
    counted = {row["webhook"]: row for row in rows_of(settings(), COUNTS, {"hours": hours})}
    rows = [
        {
            "webhook": one.name,
            "url": one.url,
            "events": ",".join(one.events),
            "tenants": ",".join(one.tenants) or "all",
        }
        | {
            name: counted.get(one.name, {}).get(name, 0)
            for name in ("delivered", "failed_attempts", "dropped")
        }
        for one in known
    ]
    if as_json:
        return say_json(rows)
    names = ("webhook", "url", "events", "tenants", "delivered", "failed_attempts", "dropped")
    out.print(
        table(
            f"Webhooks, last {hours} hours",
            names,
            [tuple(row[name] for name in names) for row in rows],
            numbers=names[4:],
        )
    )


@webhooks.command("dropped", help="The messages that were given up.")
def dropped(as_json: AsJson = False) -> None:
    found = rows_of(settings(), DROPPED)
    if as_json:
        return say_json(found)
    out.print(
        table(
            "Given up",
            ("at", "message", "webhook", "tenant", "run", "attempts", "reason", "detail"),
            [
                (
                    f"{r['at']:%m-%d %H:%M:%S}",
                    r["message"],
                    r["webhook"],
                    r["tenant"],
                    r["run"],
                    r["attempt"],
                    r["reason"],
                    short(r["detail"], 60),
                )
                for r in found
            ],
        )
    )


@webhooks.command(
    "again", help="Send a message that was given up once more; without an id, all of them."
)
def again(
    message: Annotated[
        UUID | None, typer.Argument(help="The message's id, as `dropped` shows it.")
    ] = None,
) -> None:
    found = [row for row in rows_of(settings(), DROPPED) if message in (None, row["message"])]
    if not found:
        raise UserError(
            f"no message {message or ''} was given up: `./weir webhooks dropped` lists those "
            "that were"
        )
    publisher = Publisher(settings(), codec_of(settings()))
    for row in found:
        attempt = row["attempt"] + 1
        publisher.publish(
            WebhookDue(
                id=derived_id(row["message"], f"again/{attempt}"),
                at=now(),
                attempt=attempt,
                **{
                    name: row[name]
                    for name in (
                        "tenant",
                        "session",
                        "run",
                        "webhook",
                        "webhook_version",
                        "message",
                        "type",
                        "body",
                    )
                },
            )
        )
    publisher.flush()
    err.print(
        f"{len(found)} messages are sent once more; `./weir webhooks list` shows what became of "
        "them"
    )
