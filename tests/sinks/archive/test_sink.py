"""The archive takes every class whole, once for one token, and keeps it as class and tenant say."""

from uuid import uuid4

import pytest

from schemas.catalogue import archived_classes, event_classes
from schemas.definitions.kinds import Definitions, Tenant
from schemas.events.agent.runs import RunFinished
from schemas.events.model_chunks import ModelChunk
from schemas.events.usage import TokensUsed
from schemas.wire.codec import HEAD, Codec, LocalIds, from_json
from schemas.wire.plain_values import plain_of
from sinks.archive.sink import ArchiveSink
from sinks.base import Batch, EncodedBatch
from sinks.clickhouse.connection import connect
from sinks.clickhouse.migrations import make_tables
from streams.engine.sinks.retention import HOLD_DAYS, archive_retention_of, usual_archive_days
from tests.sinks.clickhouse.test_rows import EXAMPLES

CODEC = Codec(LocalIds(event_classes()))
DAYS = archive_retention_of(
    lambda: Definitions.of(
        Tenant(name="brief", archive_days=2),
        Tenant(name="held", archive_days=2, legal_hold=True),
        Tenant(name="usual"),
    )
)


def batches_of(kind) -> tuple[Batch, EncodedBatch]:
    """The same record decoded and not."""
    event = from_json(kind, (EXAMPLES / kind.__name__ / "full.json").read_text())
    value = CODEC.encode(event)
    place = ([1], [7], [9])
    more = ("id", [value], [event.partition_key().encode()])
    return (
        Batch(kind, *place, [plain_of(event)], *more),
        EncodedBatch(kind, *place, [value[HEAD.size :]], *more),
    )


@pytest.mark.parametrize(
    "kind, tenant, days",
    [
        (RunFinished, "usual", 365),
        (RunFinished, "nobody", 365),
        (TokensUsed, "usual", 390),
        (RunFinished, "brief", 2),
        (RunFinished, "held", HOLD_DAYS),
    ],
)
def test_how_long_an_event_is_kept(kind, tenant, days):
    assert DAYS(kind, tenant) == days


def test_chunks_of_a_stream_are_not_archived():
    assert usual_archive_days(ModelChunk) == 0 and ModelChunk not in archived_classes()
    assert len(archived_classes()) == len(event_classes()) - 1


@pytest.mark.parametrize("kind", archived_classes(), ids=lambda kind: kind.__name__)
def test_a_row_is_the_same_whether_the_record_was_decoded_or_not(kind):
    sink = ArchiveSink("http://127.0.0.1:1", "none", DAYS)
    plain, encoded = batches_of(kind)
    assert sink.prepare(plain) == sink.prepare(encoded)


@pytest.mark.engine
@pytest.mark.parametrize("deduplicate, times", [(True, 1), (False, 3)], ids=["tokens", "control"])
def test_all_classes_are_one_insert_that_comes_again_without_harm(
    clickhouse_url, deduplicate, times
):
    name = f"t{uuid4().hex[:8]}"
    make_tables(clickhouse_url, name, 3650)
    sink = ArchiveSink(clickhouse_url, name, DAYS, deduplicate)
    assert len({sink.group_of(kind) for kind in archived_classes()}) == 1
    prepared = sink.joined([sink.prepare(batches_of(kind)[1]) for kind in archived_classes()])
    for _ in range(3):
        sink.write(prepared, "token")
    with connect(clickhouse_url, name) as client:
        rows = client.query(
            "SELECT type, event, tenant, key, seq, count() FROM events GROUP BY ALL",
            column_formats={"event": "bytes"},
        ).result_rows
    assert len(rows) == len(archived_classes())
    for kind_name, value, tenant, key, seq, count in rows:
        event = CODEC.decode(event_classes()[kind_name], value)
        assert (event.tenant, event.partition_key(), 9, times) == (tenant, key, seq, count)
