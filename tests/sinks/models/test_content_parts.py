"""Do steady small inserts stay few parts, in the tables and in all that their views feed?"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from schemas.catalogue import event_classes
from schemas.events.usage import TokensUsed
from schemas.events.values import Tokens
from schemas.wire.codec import HEAD, Codec, LocalIds
from sinks.base import EncodedBatch
from sinks.clickhouse.sink import ClickHouseSink

INSERTS = 220
MOST = 200
LOOKED_AT = 20
CODEC = Codec(LocalIds(event_classes()))
NOW = datetime.now(UTC).replace(microsecond=0)
PARTS = """SELECT table, partition, count() AS parts FROM system.parts
WHERE database = currentDatabase() AND active GROUP BY ALL ORDER BY parts DESC LIMIT 1"""


def bodies_of(nth: int) -> EncodedBatch:
    event = TokensUsed(
        id=UUID(int=nth + 1),
        at=NOW - timedelta(seconds=nth),
        tenant="acme",
        session=f"s{nth}",
        run=UUID(int=nth),
        agent="a",
        agent_version=1,
        model="m",
        provider="p",
        tokens=Tokens(input_tokens=1),
    )
    return EncodedBatch(TokensUsed, [0], [nth], [nth], [CODEC.encode(event)[HEAD.size :]])


@pytest.mark.engine
def test_no_partition_has_more_than_two_hundred_parts(database, clickhouse_url):
    sink = ClickHouseSink(clickhouse_url, database.database)
    most = 0
    for nth in range(INSERTS):
        sink.write(sink.prepare(bodies_of(nth)), f"{nth}")
        if nth % LOOKED_AT == 0:
            most = max(most, database.query(PARTS).result_rows[0][2])
    table, partition, parts = database.query(PARTS).result_rows[0]
    assert max(most, parts) <= MOST, f"{table} has {parts} in {partition}, {most} at most"
    assert database.query("SELECT count(), uniqExact(id) FROM token_usage").result_rows == [
        (INSERTS, INSERTS)
    ]
