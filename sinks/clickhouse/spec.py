"""The ClickHouse sink: every event that has a table."""

from schemas.catalogue import landed_classes
from sinks.base import Sink
from sinks.spec import SinkContext, SinkSpec


def make(context: SinkContext) -> Sink:
    """The sink; its client is imported here, because it takes half a second."""
    from sinks.clickhouse.sink import ClickHouseSink

    settings = context.settings
    return ClickHouseSink(
        settings.clickhouse(),
        settings.clickhouse_database,
        deduplicate=settings.control != "tokens",
        kept=context.retention_days,
    )


SPEC = SinkSpec("clickhouse", landed_classes(), make)
