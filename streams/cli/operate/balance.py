"""`weir balance`: whether produced = landed + dead-lettered, and consumer lag."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from confluent_kafka import Message

from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.wire.record_types import RecordTypes
from sinks.clickhouse.connection import append_rows
from sinks.qdrant import sink as qdrant_sink
from streams.cli.output import AsJson, err, out, say_json, table
from streams.config import Settings, settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.sinks.worker import sink_of
from streams.lab.chaos.check import chunks_of, of_kind, readable
from streams.operations.balance import FIGURES, Balance, Minute
from streams.operations.balance import balance as counted
from streams.operations.balance_repair import repair as land_again
from streams.operations.connections import codec_of, rows_of
from streams.operations.lag import Delay, delays

LISTED = 20
KEPT = ("minute", "topic", "partition", "produced", "landed", "dead_lettered", "lost", "doubled")


def balance(
    minutes: Annotated[
        int, typer.Option(help="How far back; 0 for all that the log still has.", min=0)
    ] = 60,
    knowledge: Annotated[
        bool, typer.Option("--knowledge", help="Compare the pieces in Qdrant too.")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Land what is lost again, out of the log.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Counts: produced = landed + dead-lettered, by topic, partition and minute. Exit code 1 where
    that is not so.
    """
    found, waiting = measured(settings(), minutes)
    if repair and found.lost:
        off = {(one.topic, one.partition, one.minute) for one in found.off}
        err.print(repaired(settings(), found))
        found, waiting = measured(settings(), minutes)
        keep(
            settings(),
            [one for one in found.minutes if (one.topic, one.partition, one.minute) in off],
        )
    pieces = pieces_of(settings(), waiting) if knowledge else {}
    well = not (found.off or pieces.get("missing") or pieces.get("too_many"))
    sums = {name: sum(getattr(each, name) for each in found.minutes) for name in FIGURES}
    if as_json:
        say_json(
            {
                "balanced": well,
                **sums,
                "topics": found.by_topic(),
                "off": [vars(one) for one in found.off],
                "earlier": found.earlier,
                "delays": [vars(one) for one in waiting],
            }
            | ({"pieces": pieces} if knowledge else {})
        )
    else:
        print_balance(found, waiting)
    err.print(sentence(sums, found.off), markup=False)
    for topic, rows in found.earlier.items():
        err.print(made_anew(topic, rows), markup=False)
    if knowledge:
        err.print(
            f"{pieces['in_force']} pieces of documents are in force: {pieces['missing']} of them "
            "are not in "
            f"Qdrant, {pieces['too_many']} are there that should not be"
        )
    raise typer.Exit(0 if well else 1)


def print_balance(found: Balance, waiting: list[Delay]) -> None:
    columns = ("topic", *FIGURES, "landed_after_p50_ms", "landed_after_p99_ms")
    out.print(
        table(
            "Produced = landed + dead-lettered",
            columns,
            [[row[name] for name in columns] for row in found.by_topic()],
            numbers=columns[1:],
        )
    )
    out.print(
        table(
            "Behind",
            ("consumer", "records", "oldest, ms"),
            [(one.consumer, one.behind, one.oldest_ms) for one in waiting],
            numbers=("records", "oldest, ms"),
        )
    )


def repaired(configured: Settings, found: Balance) -> str:
    """Lands what is lost; what was done, in words."""
    landed = land_again(
        configured,
        codec_of(configured),
        sink_of(configured, "clickhouse"),
        found.lost,
        datetime.now(UTC),
    )
    return (
        f"{landed} of {sum(map(len, found.lost.values()))} lost records were landed again, out "
        "of the log. Where their "
        "rows had been deleted, sums by hour now count them twice: `./weir query --named "
        "balance` tells"
    )


def keep(configured: Settings, minutes: list[Minute]) -> None:
    """The new count of repaired minutes, in the table: the later count of a minute holds, there and
    on the console.
    """
    append_rows(
        configured.clickhouse(),
        configured.clickhouse_database,
        "balance",
        KEPT,
        [
            (
                one.minute,
                one.topic,
                one.partition,
                one.produced - one.under_way,
                one.landed,
                one.dead_lettered,
                one.lost,
                one.doubled,
            )
            for one in minutes
        ],
    )


def pieces_of(configured: Settings, waiting: list[Delay]) -> dict[str, int]:
    """Pieces in force by what the log still has, and how Qdrant differs. A UserError while some are
    on their way.
    """
    behind = next((one.behind for one in waiting if one.consumer == "sink-qdrant"), 0)
    if behind:
        raise UserError(f"{behind} pieces are on their way to Qdrant: ask again in a moment")
    codec = codec_of(configured)
    types = RecordTypes(configured.prefix, (ChunkPrepared, ChunkRetired))
    log: dict[type[Event], list[tuple[int, Event]]] = {kind: [] for kind in types.wanted}
    for topic in types.topics:
        for number in range(configured.partitions):
            for message in records(configured, topic, number):
                for event in readable(codec, types, message):
                    log[type(event)].append((number, event))
    wanted = chunks_of(log)
    retired = {
        (event.tenant, event.document, event.nth) for event in of_kind(log, ChunkRetired)
    } - wanted
    there = qdrant_sink.stored_chunks(
        configured.qdrant(), configured.qdrant_key.get_secret_value(), configured.qdrant_collection
    )
    return {
        "in_force": len(wanted),
        "missing": len(wanted - there),
        "too_many": len(there & retired),
    }


def records(configured: Settings, topic: str, number: int) -> Iterator[Message]:
    return kafka.read_to(configured, topic, number, kafka.high_watermark(configured, topic, number))


def measured(configured: Settings, minutes: int) -> tuple[Balance, list[Delay]]:
    """The balance of the last minutes, whole ones, and who is behind."""
    since = (
        (datetime.now(UTC) - timedelta(minutes=minutes)).replace(second=0, microsecond=0)
        if minutes
        else None
    )

    def rows(sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        return rows_of(configured, sql, parameters)

    return counted(configured, codec_of(configured), rows, since), delays(configured)


def made_anew(topic: str, rows: int) -> str:
    """What is said of a topic that has rows of another topic of the same name."""
    return (
        f"{topic} was deleted and made anew: {rows} rows are of the topic before and are not "
        "counted here. Nobody can "
        "tell whether all of its records had landed"
    )


def sentence(sums: dict[str, int], off: list[Minute]) -> str:
    """The outcome in words; where it does not balance, which minutes and what to do."""
    if not off:
        rest = f", {sums['under_way']} under way" if sums["under_way"] else ""
        return (
            f"balanced: {sums['produced']} produced = {sums['landed']} landed + "
            f"{sums['dead_lettered']} "
            f"dead-lettered{rest}"
        )
    lines = [
        f"  {one.topic}[{one.partition}] {one.minute:%Y-%m-%d %H:%M}: {one.produced} produced, "
        f"{one.lost} lost, "
        f"{one.doubled} doubled"
        for one in off[:LISTED]
    ]
    more = [f"  and {len(off) - LISTED} more"] if len(off) > LISTED else []
    return "\n".join(
        [
            f"NOT BALANCED: {sums['lost']} lost, {sums['doubled']} doubled, in {len(off)} "
            "minutes of a "
            "partition. Keep the topics as they are; `./weir balance --repair` lands what is "
            "lost again:",
            *lines,
            *more,
        ]
    )
