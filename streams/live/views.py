"""Live views of the last hour on Faust, served as JSON.

The stages write what the views show into a slim log of its own (LiveFigures): reading the events
themselves took Faust as much time as the gateway takes for a request. A Faust agent a topic adds
finished runs, refusals, model calls, verdicts and dead letters up by minute, tenant, agent and
model. The numbers may be approximate for a moment; the exact ones are in ClickHouse. So the table
is memory only: at start the group is given the offsets of an hour ago and the hour is read again,
at 5,000 events/s and more. Faust's own tables would bring a changelog topic that recovers at 3,000
to 4,750 records/s, windows that expire by the clock of the wall and, after a recovery, never. The
group's name is new at every start: a killed member of the old one would hold the partitions for its
session time-out, and several replicas each need all of the data.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import faust

from schemas.events.base import Event
from schemas.wire.codec import Codec, DecodeError
from streams.config import Settings
from streams.engine.shapes import kinds
from streams.live.broker import (
    CommittedTransport,
    EventSchema,
    broker_url,
    credentials,
    start_group_at,
)
from streams.live.table import KEPT_MINUTES, LiveTable
from streams.topology import LIVE_VIEWS

log = logging.getLogger(__name__)

GROUP = "weir-live-"
SHOWN = kinds(LIVE_VIEWS)
START_LIMIT_S = 60
STUCK_S = 60
"""Faust has open reports of partitions that it silently stops to read; a new process reads the hour
again.
"""


def now() -> datetime:
    return datetime.now(UTC)


class Lag:
    """How many seconds is the view behind? The age of what is being read, but never longer than
    since the partition was last read to its end: the newest record of a quiet topic may be old.
    """

    def __init__(self) -> None:
        self._read_at: dict[Any, float] = {}
        self._even_at: dict[Any, float] = {}
        self._moved_at: dict[Any, float] = {}
        self.behind_s: float | None = None
        self.stuck: list[Any] = []

    def read(self, place: Any, timestamp_s: float, now_s: float) -> None:
        self._read_at[place], self._moved_at[place] = timestamp_s, now_s

    def measure(self, unread: dict[Any, int], now_s: float) -> None:
        """`unread` records by partition, at `now_s`. `stuck` are those of which none was read for
        STUCK_S.
        """
        behind = [0.0]
        for place, records in unread.items():
            if records <= 0 or place not in self._moved_at:
                self._moved_at[place] = now_s
        self.stuck = [place for place in unread if now_s - self._moved_at[place] > STUCK_S]
        for place, records in unread.items():
            if records <= 0:
                self._even_at[place] = now_s
            else:
                since = max(
                    self._read_at.get(place, now_s - KEPT_MINUTES * 60),
                    self._even_at.get(place, 0.0),
                )
                behind.append(now_s - since)
        self.behind_s = round(max(behind), 1)


class View:
    """The table with what is known of its freshness."""

    def __init__(self) -> None:
        self.table, self.lag = LiveTable(), Lag()
        self.undecodable = self.events = 0

    def take(self, event: Event | DecodeError, place: Any, timestamp_s: float) -> None:
        self.lag.read(place, timestamp_s, time.time())
        if isinstance(event, DecodeError):
            self.undecodable += 1
        else:
            self.events += 1
            self.table.add(event, now())

    def json(self, minutes: int) -> dict[str, Any]:
        about = {
            "at": now().isoformat(timespec="milliseconds"),
            "behind_s": self.lag.behind_s,
            "events": self.events,
            "undecodable": self.undecodable,
        }
        return about | self.table.view(now(), minutes)


def make_app(settings: Settings, codec: Codec, view: View, group: str) -> faust.App:
    """The Faust app: an agent a topic, and the web views."""
    properties = settings.kafka_properties()
    data = settings.home.absolute() / "live"
    data.mkdir(parents=True, exist_ok=True)
    app = faust.App(
        group,
        broker=broker_url(properties),
        broker_credentials=credentials(properties),
        broker_client_id="weir-live",
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_max_poll_records=2_000,
        store="memory://",
        datadir=str(data),
        consumer_auto_offset_reset="latest",
        consumer_max_fetch_size=8 * 1024 * 1024,
        topic_allow_declare=False,
        topic_disable_leader=True,
        producer_threaded=False,
        web_host="127.0.0.1",
        web_bind="127.0.0.1",
        web_port=settings.live_port,
        web_in_thread=False,
        worker_redirect_stdouts=False,
        autodiscover=False,
    )
    app.transport = CommittedTransport([*app.conf.broker_consumer], app, loop=app.loop)
    for kind in SHOWN:
        _follow(app, kind, settings.prefix + kind.topic(), codec, view)
    _serve(app, view)
    return app


def _follow(app: faust.App, kind: type[Event], topic: str, codec: Codec, view: View) -> None:
    async def count(stream: Any) -> None:
        async for one in stream.events():
            view.take(one.value, one.message.tp, one.message.timestamp)

    app.agent(app.topic(topic, schema=EventSchema(kind, codec)), name=f"count_{kind.__name__}")(
        count
    )


def _serve(app: faust.App, view: View) -> None:
    @app.page("/api/live")
    async def live(web: Any, request: Any) -> Any:
        asked = request.query.get("minutes", str(KEPT_MINUTES))
        if not asked.isdigit() or not 1 <= int(asked) <= KEPT_MINUTES:
            return web.json(
                {"error": f"minutes must be a number from 1 to {KEPT_MINUTES}"}, status=400
            )
        return web.json(view.json(int(asked)))

    @app.page("/healthz")
    async def healthz(web: Any, request: Any) -> Any:
        behind_s = view.lag.behind_s
        return web.json(
            {"ok": behind_s is not None, "behind_s": behind_s},
            status=200 if behind_s is not None else 503,
        )


async def measure(app: faust.App, view: View) -> None:
    """Asks where each partition ends and how far it was read."""
    consumer = app.consumer
    places = sorted(consumer.assignment())
    if places:
        ends = await consumer.highwaters(*places)
        unread = {place: ends[place] - (await consumer.position(place) or 0) for place in places}
        view.lag.measure(unread, time.time())


async def follow(settings: Settings, worker: Any) -> None:
    """Runs the app until the worker is asked to stop. Raises RuntimeError when Faust gives up."""
    beating = asyncio.create_task(_beat(worker))
    prefix = f"{settings.prefix}{GROUP}"
    group = f"{prefix}{int(time.time() * 1000)}"
    topics = [settings.prefix + kind.topic() for kind in SHOWN]
    since = now() - timedelta(minutes=KEPT_MINUTES)
    view = View()
    try:
        await asyncio.to_thread(start_group_at, settings, prefix, group, topics, since)
        app = make_app(settings, worker.codec, view, group)
        await asyncio.wait_for(app.start(), START_LIMIT_S)
        log.info(
            "live views on http://127.0.0.1:%d/api/live; reads %s",
            settings.live_port,
            ", ".join(topics),
        )
        try:
            await _watch(app, view, worker)
        finally:
            worker.ready(False)
            await app.stop()
    finally:
        beating.cancel()


async def _beat(worker: Any) -> None:
    """As long as this loop turns, the process lives; a consumer that does not is found by its lag."""
    while True:
        worker.beat()
        await asyncio.sleep(1)


async def _watch(app: faust.App, view: View, worker: Any) -> None:
    while not worker.stopping.is_set():
        if app.crashed:
            raise RuntimeError(f"Faust gave up: {app.crash_reason!r}")
        await measure(app, view)
        if view.lag.stuck:
            raise RuntimeError(
                f"no record of {view.lag.stuck[0]} was read for {STUCK_S} s, though there are some"
            )
        worker.ready(view.lag.behind_s is not None)
        await asyncio.sleep(0.5)


def run(settings: Settings, worker: Any) -> None:
    """The live worker: `streams/worker.py` calls this in its process."""
    asyncio.run(follow(settings, worker))
