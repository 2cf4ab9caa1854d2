"""The benchmark's works as a Faust agent with a table, at least once.

It is configured for speed: its tables hold plain JSON values and its producer may wait 5 ms for a
batch. Its `exactly_once` writes no transactions, so that mode cannot be compared. `python -m
streams.lab.bench_engine.faust_worker fold` prints `recovered_s` when its tables are back from their
changelog.
"""

import asyncio
import signal
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import faust

from schemas.wire.codec import Codec, headers_of
from streams.config import Settings, settings
from streams.lab.bench_engine.broker import PARTITIONS, codec
from streams.lab.bench_engine.workload import WORKS, Tally, Work, tally
from streams.live.broker import EventSchema, broker_url, credentials

TABLE = "table"
APP = "peer"


def changelog(configured: Settings, work: Work) -> str:
    """The topic that Faust keeps a work's table in."""
    return f"{app_name(configured, work)}-{TABLE}-changelog"


def app_name(configured: Settings, work: Work) -> str:
    return f"{configured.prefix}{APP}-{work.name}"


def make_app(configured: Settings, work: Work) -> faust.App:
    data = configured.home / "peer"
    data.mkdir(parents=True, exist_ok=True)
    properties = configured.kafka_properties()
    return faust.App(
        app_name(configured, work),
        broker=broker_url(properties),
        broker_credentials=credentials(properties),
        store="memory://",
        datadir=str(data),
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        broker_max_poll_records=2_000,
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        producer_linger=0.005,
        producer_compression_type="lz4",
        table_cleanup_interval=3_600,
        worker_redirect_stdouts=False,
        autodiscover=False,
    )


def fold(app: faust.App, prefix: str, work: Work, table: Any, encoder: Codec) -> None:
    """The fold: decode, read the table, apply the same pure function, write the table, send."""
    source = app.topic(prefix + work.reads.topic(), schema=EventSchema(work.reads, encoder))
    out = app.topic(prefix + work.writes.topic(), key_serializer="raw", value_serializer="raw")

    async def agent(stream: Any) -> None:
        async for verdict in stream:
            key = verdict.partition_key()
            known = table.get(key)
            now, results = tally(Tally(**known) if known else Tally(), verdict)
            table[key] = asdict(now)
            for event in results:
                await out.send(
                    key=key.encode(),
                    value=encoder.encode(event),
                    headers=cast(Any, headers_of(event)),
                )

    app.agent(source, name="agent")(agent)


def window(app: faust.App, prefix: str, work: Work, table: Any, encoder: Codec) -> None:
    """Totals by tenant and minute of event time. Nothing is sent at a window's end: Faust closes
    windows by wall-clock time, and not in every partition.
    """
    source = app.topic(prefix + work.reads.topic(), schema=EventSchema(work.reads, encoder))
    totals = table.tumbling(timedelta(minutes=1), expires=timedelta(days=1)).relative_to(
        lambda event: event.value.at.timestamp()
    )

    async def agent(stream: Any) -> None:
        async for used in stream:
            known = totals[used.tenant].value()
            totals[used.tenant] = {
                "calls": known["calls"] + 1,
                "unpriced_calls": known["unpriced_calls"] + (used.cost_usd is None),
                "input_tokens": known["input_tokens"] + used.tokens.input_tokens,
                "output_tokens": known["output_tokens"] + used.tokens.output_tokens,
                "cost_usd": str(Decimal(known["cost_usd"]) + (used.cost_usd or 0)),
            }

    app.agent(source, name="agent")(agent)


def nothing_yet() -> dict[str, Any]:
    return {"calls": 0, "unpriced_calls": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": "0"}


async def run(configured: Settings, work: Work) -> None:
    app = make_app(configured, work)
    table = app.Table(
        TABLE, partitions=PARTITIONS, default=None if work.name == "fold" else nothing_yet
    )
    {"fold": fold, "window": window}[work.name](app, configured.prefix, work, table, codec())
    begun: list[float] = []

    @app.on_partitions_assigned.connect
    async def assigned(*_: Any, **__: Any) -> None:
        begun.append(time.monotonic())

    @table.on_recover
    async def recovered(*_: Any) -> None:
        print("recovered_s", time.monotonic() - begun[-1], flush=True)

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await app.start()
    await stopping.wait()
    await app.stop()


def main() -> None:
    asyncio.run(run(settings(), WORKS[sys.argv[1]]))


if __name__ == "__main__":
    main()
