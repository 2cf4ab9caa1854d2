"""Is every committed event in the tables once, and in their totals once, whatever is killed?"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.embedded import testing_servers
from infra.embedded.clickhouse import server as clickhouse_server
from infra.embedded.qdrant import server as qdrant_server
from schemas.catalogue import event_classes
from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import Codec, LocalIds, headers_of
from schemas.wire.plain_values import plain_of
from schemas.wire.topics import topic_of
from sinks.base import Batch
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from sinks.clickhouse.sink import ClickHouseSink
from sinks.qdrant import sink as qdrant
from streams.config import Settings
from streams.engine import kafka
from streams.engine.shapes import kinds
from streams.topology import SINKS

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[4]
CODEC = Codec(LocalIds(event_classes()))
PARTITIONS = 4


@dataclass
class Bed:
    """The topics of one sink, its server, and its worker processes."""

    settings: Settings
    sink: str
    engine: Any
    home: Path
    more: tuple[str, ...] = ()
    workers: dict[int, subprocess.Popen] = field(default_factory=dict)
    server: testing_servers.Server | None = None
    client: Client | None = None

    def open(self) -> None:
        kafka.create_topics(
            self.settings, [topic_of(kind, PARTITIONS) for kind in kinds(SINKS[self.sink])]
        )
        self.server = testing_servers.start(self.engine, self.home, testing_servers.free_port())
        self.settings = self.settings.model_copy(update={f"{self.sink}_url": self.server.url})
        self.producer = kafka.producer(self.settings, **{"linger.ms": 5})

    def start(self, slot: int) -> None:
        with (self.home / f"worker-{slot}.log").open("ab") as log:
            self.workers[slot] = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.sink_worker",
                    self.sink,
                    str(slot),
                    *self.more,
                ],
                cwd=ROOT,
                env=os.environ | self.settings.environment(),
                stdout=log,
                stderr=log,
            )

    def kill_worker(self, slot: int) -> None:
        self.workers[slot].send_signal(signal.SIGKILL)
        self.workers[slot].wait()
        self.start(slot)

    def kill_server(self) -> None:
        self.server.kill()
        self.server = testing_servers.start(self.engine, self.home, self.server.port)

    def publish(self, *events: Event, value: bytes | None = None, producer: Any = None) -> None:
        for number, event in enumerate(events):
            (producer or self.producer).produce(
                self.settings.prefix + event.topic(),
                value or CODEC.encode(event),
                event.partition_key().encode(),
                headers=[*headers_of(event), ("weir_seq", str(number).encode())],
            )

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        if self.server:
            self.server.kill()


@pytest.fixture
def bed(own_settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Bed]]:
    made: list[Bed] = []

    def make(sink: str, engine: Any, *more: str, **settings: Any) -> Bed:
        made.append(
            Bed(own_settings.model_copy(update=settings), sink, engine, tmp_path / sink, more)
        )
        made[0].open()
        return made[0]

    yield make
    for each in made:
        each.close()


def used(number: int) -> TokensUsed:
    return TokensUsed(
        id=UUID(int=number + 1),
        at=datetime.now(UTC),
        tenant=f"t{number % 16}",
        session="s",
        run=uuid4(),
        agent="a",
        agent_version=1,
        model="m",
        provider="p",
        tokens=Tokens(input_tokens=number),
        cost_usd="0.000001",
    )


def until(
    true: Callable[[], object], what: str, within_s: float = 60, pause_s: float = 0.3
) -> None:
    """Waits for a condition; fails with its name. Asks seldom: the embedded ClickHouse answers one
    at a time.
    """
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(pause_s)


def heeds_sigterm(pid: int) -> bool:
    """Has the process come to where it drains when it is asked to end? Before, the signal just ends
    it.
    """
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return bool(int(caught[1], 16) >> signal.SIGTERM - 1 & 1)


def figures(bed: Bed) -> dict[str, int]:
    client = bed.client = bed.client or connect(bed.settings.clickhouse(), "weir")
    rows, distinct, tokens = client.query(
        "SELECT count(), uniqExact(id), sum(input_tokens) FROM token_usage"
    ).result_rows[0]
    calls, in_totals = client.query(
        "SELECT sum(calls), sum(input_tokens) FROM usage_by_hour"
    ).result_rows[0]
    letters = client.query("SELECT count() FROM dead_letters").result_rows[0][0]
    return {
        "rows": rows,
        "distinct": distinct,
        "tokens": tokens,
        "calls": calls,
        "tokens_in_totals": in_totals,
        "letters": letters,
    }


def there(bed: Bed, wanted: Callable[[dict[str, int]], bool]) -> bool:
    try:
        return wanted(figures(bed))
    except (
        ClickHouseError,
        OSError,
    ):  # there is no table yet, or no server: asked again, up to the deadline
        bed.client = None
        return False


def disturb(
    bed: Bed, kills: int, every_s: float, chance: random.Random, publish_more: Callable[[], None]
) -> None:
    """Kills workers in turn and the server between them, at random moments, while more is
    published.
    """
    for number in range(kills):
        publish_more()
        due = time.monotonic() + every_s * chance.uniform(0.5, 1.5)
        until(lambda due=due: time.monotonic() >= due, "the moment of a kill", pause_s=0.02)
        bed.kill_server() if number % 2 else bed.kill_worker(number // 2 % len(bed.workers))


def test_kills_of_workers_and_of_clickhouse_lose_nothing_and_double_nothing(bed):
    at = bed("clickhouse", clickhouse_server, sink_rows=500, sink_age_s=0.2)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    aborted = kafka.producer(at.settings, "aborting")
    aborted.init_transactions()
    published = iter(range(1_000_000))
    total = poison = 0

    def publish_more() -> None:
        nonlocal total, poison
        at.publish(*(used(next(published)) for _ in range(1_500)))
        at.publish(used(poison), value=b"junk %d" % poison)
        aborted.begin_transaction()
        at.publish(*(used(999_999) for _ in range(200)), producer=aborted)
        aborted.abort_transaction()
        at.producer.flush()
        total, poison = total + 1_500, poison + 1

    at.start(0)
    at.start(1)
    disturb(at, kills=5, every_s=1.0, chance=random.Random(7), publish_more=publish_more)
    wanted = {
        "rows": total,
        "distinct": total,
        "tokens": sum(range(total)),
        "calls": total,
        "tokens_in_totals": sum(range(total)),
        "letters": poison,
    }
    until(
        lambda: there(at, lambda now: now["rows"] >= total and now["letters"] >= poison),
        "all rows are there",
        120,
    )
    until(
        lambda: all(heeds_sigterm(worker.pid) for worker in at.workers.values()),
        "the one killed last is up again",
    )
    for worker in at.workers.values():
        worker.terminate()
    assert [worker.wait(20) for worker in at.workers.values()] == [0, 0], "drained"
    assert figures(at) == wanted


def test_without_tokens_the_same_is_found_out(bed):
    """The control: a repeat must show, or the test above proves nothing."""
    at = bed("clickhouse", clickhouse_server, "--no-tokens", sink_rows=300, sink_age_s=0.1)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    total = 12_000
    at.publish(*map(used, range(total)))
    at.producer.flush()
    at.start(0)
    until(lambda: there(at, lambda now: now["rows"] > 0), "rows are coming")
    for _ in range(12):
        seen = figures(at)["rows"]
        at.kill_worker(0)
        until(
            lambda seen=seen: there(at, lambda now: now["rows"] > seen or now["distinct"] == total),
            "rows are coming",
        )
        if figures(at)["rows"] > figures(at)["distinct"]:
            break
    now = figures(at)
    assert now["rows"] > now["distinct"], "no kill fell between an insert and its commit"


def test_clickhouse_may_be_away_and_the_rest_waits_for_it(bed):
    at = bed("clickhouse", clickhouse_server, sink_rows=300, sink_age_s=0.1)
    at.start(0)  # before there is a table: it must try again until there is
    at.publish(*map(used, range(1_000)))
    at.producer.flush()
    until(lambda: "try 2" in (at.home / "worker-0.log").read_text(), "the worker tries again")
    make_tables(at.settings.clickhouse(), "weir", 3650)
    until(lambda: there(at, lambda now: now["rows"] >= 1_000), "all rows are there")
    assert figures(at)["calls"] == figures(at)["distinct"] == 1_000


def test_too_many_dead_letters_stop_the_worker_and_pass_nothing_over(bed):
    at = bed("clickhouse", clickhouse_server, sink_age_s=0.1)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    for number in range(200):
        at.publish(used(0), value=b"junk %d" % number)
    at.producer.flush()
    at.start(0)
    until(lambda: at.workers[0].poll() is not None, "the worker stops")
    assert "dead letters" in (at.home / "worker-0.log").read_text()
    assert figures(at)["letters"] == 0


def test_without_offsets_and_with_rows_it_does_not_begin_again(bed):
    at = bed("clickhouse", clickhouse_server, sink_age_s=0.1)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    sink, event = ClickHouseSink(at.settings.clickhouse(), "weir"), used(0)
    [topic_id] = kafka.topic_ids(
        kafka.admin(at.settings), [at.settings.prefix + TokensUsed.topic()]
    ).values()
    for partition in range(PARTITIONS):
        batch = Batch(TokensUsed, [partition], [0], [0], [plain_of(event)], topic_id)
        sink.write(sink.prepare(batch), f"{partition}")
    before = figures(at)
    at.publish(event)
    at.producer.flush()
    at.start(0)
    assert at.workers[0].wait(30) != 0
    assert "up to offset 0" in (at.home / "worker-0.log").read_text()
    assert figures(at) == before


def test_the_last_word_on_each_chunk_stands_after_kills(bed):
    at = bed("qdrant", qdrant_server, sink_age_s=0.1)
    key, name = "", at.settings.qdrant_collection
    qdrant.prepare_collection(at.settings.qdrant(), key, name)
    at.start(0)
    for version in range(2):
        events = [chunk_event(document, nth, version) for document in range(12) for nth in range(3)]
        for number, event in enumerate(events):
            at.producer.produce(
                at.settings.prefix + event.topic(),
                CODEC.encode(event),
                event.partition_key().encode(),
                headers=[*headers_of(event), ("weir_seq", str(version * 100 + number).encode())],
            )
        at.producer.flush()
        at.kill_worker(0)
    client = qdrant.client_of(at.settings.qdrant(), key)

    def stored() -> dict[tuple[str, int], str]:
        found, _ = client.scroll(name, limit=200)
        return {
            (p.payload["document"], p.payload["nth"]): p.payload["text"]
            for p in found
            if "text" in p.payload
        }

    wanted = {
        (f"d{document}", nth): f"document {document}, part {nth}, version 1"
        for document in range(12)
        for nth in range(3)
        if nth != 2
    }
    until(lambda: stored() == wanted, "the last version of all chunks, and no retired one", 60)
    at.kill_server()
    assert stored() == wanted
    client.close()


def chunk_event(document: int, nth: int, version: int) -> ChunkPrepared | ChunkRetired:
    """The third part is retired with version 1."""
    about = {
        "id": uuid4(),
        "at": datetime.now(UTC),
        "tenant": "acme",
        "document": f"d{document}",
        "nth": nth,
    }
    if nth == 2 and version == 1:
        return ChunkRetired(**about)
    return ChunkPrepared(
        **about, text=f"document {document}, part {nth}, version {version}", digest=str(version)
    )
