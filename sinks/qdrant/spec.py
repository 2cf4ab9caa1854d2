"""The Qdrant sink: the chunks of documents."""

from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from sinks.base import Sink
from sinks.spec import SinkContext, SinkSpec


def make(context: SinkContext) -> Sink:
    """The sink; its client is imported here, because it takes a second."""
    from sinks.qdrant.sink import QdrantSink

    settings = context.settings
    key = settings.qdrant_key.get_secret_value()
    return QdrantSink(
        settings.qdrant(),
        key,
        settings.qdrant_collection,
        numbering=lambda: context.numbering_of(ChunkPrepared),
    )


SPEC = SinkSpec("qdrant", (ChunkPrepared, ChunkRetired), make)
