"""The archive: every event whose class says for how long."""

from schemas.catalogue import archived_classes
from sinks.base import Sink
from sinks.spec import SinkContext, SinkSpec


def make(context: SinkContext) -> Sink:
    """The sink; its client is imported here, because it takes half a second."""
    from sinks.archive.sink import ArchiveSink

    settings = context.settings
    return ArchiveSink(
        settings.clickhouse(),
        settings.clickhouse_database,
        context.archive_days,
        deduplicate=settings.control != "tokens",
    )


SPEC = SinkSpec("archive", archived_classes(), make, takes_all=True)
