"""A log of several classes lands exactly once, with kills between the inserts of one range."""

import random
from pathlib import Path
from uuid import UUID

from schemas.events.agent.approvals import ApprovalRefused, ApprovalResolved
from schemas.events.agent.runs import RequestCleared
from schemas.events.attempts import AttemptEnded
from schemas.events.base import Event
from schemas.events.guardrails import VerdictReached
from schemas.wire.codec import from_json
from sinks.clickhouse.migrations import make_tables
from tests.streams.engine.sinks.test_worker import (
    ROOT,
    Bed,
    bed,
    clickhouse_server,
    disturb,
    figures,
    pytestmark,
    there,
    until,
)

__all__ = ["bed", "pytestmark"]
EXAMPLES = ROOT / "schemas" / "examples"
RECORDS = (VerdictReached, RequestCleared, AttemptEnded)
DECISIONS = (ApprovalResolved, ApprovalRefused)
LANDED = (VerdictReached, AttemptEnded, *DECISIONS)
EACH = 300


def example(kind: type[Event]) -> Event:
    path: Path = EXAMPLES / kind.__name__ / "full.json"
    return from_json(kind, path.read_text())


def landed(at: Bed) -> dict[str, tuple[int, int]]:
    """Rows and distinct ids of each class."""
    figures(at)
    found = {}
    for kind in LANDED:
        wanted = "status = 'refused'" if kind is ApprovalRefused else "1"
        unlike = "status != 'refused'" if kind is ApprovalResolved else "1"
        found[kind.__name__] = at.client.query(
            f"SELECT count(), uniqExact(id) FROM {kind.table} WHERE {wanted} AND {unlike}"
        ).result_rows[0]
    return found


def test_every_class_of_a_log_lands_once_whatever_is_killed(bed):
    """Two classes of one log in two tables, two of one log in one table, one that nobody wants, and
    records that say of no class that they are of it.
    """
    assert len({kind.topic() for kind in RECORDS}) == len({kind.topic() for kind in DECISIONS}) == 1
    at = bed("clickhouse", clickhouse_server, sink_rows=200, sink_age_s=0.2)
    make_tables(at.settings.clickhouse(), "weir", 3650)
    examples = [example(kind) for kind in (*RECORDS, *DECISIONS)]
    count = foreign = 0

    def publish_more() -> None:
        nonlocal count, foreign
        for number in range(count, count + EACH):
            at.publish(
                *(
                    event.model_copy(
                        update={"id": UUID(int=number + 1), "tenant": f"t{number % 16}"}
                    )
                    for event in examples
                )
            )
        at.producer.produce(
            at.settings.prefix + VerdictReached.topic(), b"of no class", b"t/s", headers=[]
        )
        at.producer.flush()
        count, foreign = count + EACH, foreign + 1

    at.start(0)
    at.start(1)
    disturb(at, kills=7, every_s=0.7, chance=random.Random(11), publish_more=publish_more)
    wanted = {kind.__name__: (count, count) for kind in LANDED}
    until(
        lambda: there(
            at,
            lambda now: (
                now["letters"] >= foreign and all(rows >= count for rows, _ in landed(at).values())
            ),
        ),
        "all rows are there",
        120,
    )
    assert landed(at) == wanted
    assert figures(at)["letters"] == foreign
