"""Creates topics, schemas, tables and the collection, and applies definitions.

Everything here may be done again at any time and then changes nothing. It is one service of the
embedded stack, and `./weir deploy` where the engines are real servers.
"""

import logging
import time
from collections.abc import Callable, Sequence

from infra.embedded.service import StackError
from schemas.wire.topics import Topic, topics
from sinks.clickhouse.migrations import make_tables
from sinks.qdrant import sink as qdrant
from streams import app
from streams.config import Settings
from streams.definitions.folder import Company, DefinitionsError
from streams.engine import definitions_topic, kafka, schema_registry
from streams.engine.client import Publisher
from streams.engine.shapes import stages
from streams.engine.stages import changelog
from streams.engine.stages.changelog import Changelog
from streams.operations import partitions
from streams.operations.connections import codec_of
from streams.topology import PIPELINE

log = logging.getLogger(__name__)
Progress = Callable[[str], None]


def deploy(settings: Settings, progress: Progress = log.info) -> None:
    """Topics, schemas, tables and the collection. Raises SystemExit or a sink's error, with a
    sentence.
    """
    wanted = wanted_topics(settings)
    if grown := partitions.grow(settings, wanted):
        progress(f"topics: {len(grown)} have {settings.partitions} partitions now")
    created = kafka.create_topics(settings, wanted)
    progress(f"topics: {len(created)} created")
    schema_registry.register_all(settings)
    progress("schemas: registered")
    applied = make_tables(
        settings.clickhouse(),
        settings.clickhouse_database,
        settings.retention_days,
        settings.clickhouse_replicated,
    )
    progress(f"tables: {len(applied)} migrations applied")
    qdrant.prepare_collection(
        settings.qdrant(), settings.qdrant_key.get_secret_value(), settings.qdrant_collection
    )
    progress("collection: ready")


def wanted_topics(settings: Settings) -> list[Topic | Changelog]:
    """Every event's topic, and the changelog of every stage."""
    return [
        *topics(settings.partitions).values(),
        *(changelog.topic(key, settings.partitions) for key in stages(PIPELINE)),
    ]


def apply(settings: Settings, company: Company) -> Sequence[str]:
    """Publishes what changed of a company's definitions and all of its documents; returns the
    places that changed. Raises DefinitionsError where a version of a prompt is named that is not
    there.
    """
    codec = codec_of(settings)
    current = definitions_topic.read_all(settings, codec)
    changed = definitions_topic.plan(current, company.definitions)
    missing = definitions_topic.versions_missing(current.having(changed), company.definitions)
    if missing:
        raise DefinitionsError("\n".join(missing))
    definitions_topic.publish(settings, codec, changed)
    publisher = Publisher(settings, codec)
    publisher.publish(*company.documents)
    publisher.flush()
    return [change.place for change in changed]


def apply_and_wait(settings: Settings, company: Company) -> Sequence[str]:
    """The same, and returns when every worker of the stack on this machine knows them, and search
    finds the documents.
    """
    changed = apply(settings, company)
    app.await_definitions(
        settings, len(definitions_topic.read_all(settings, codec_of(settings)).bodies)
    )
    await_documents(settings, company)
    return changed


def await_documents(settings: Settings, company: Company, timeout_s: float = 60) -> None:
    """Returns when every document can be found by a search. Raises StackError."""
    wanted = {(one.tenant, one.document) for one in company.documents}
    deadline = time.monotonic() + timeout_s
    while wanted:
        stored = qdrant.stored_chunks(
            settings.qdrant(), settings.qdrant_key.get_secret_value(), settings.qdrant_collection
        )
        wanted -= {(tenant, document) for tenant, document, _ in stored}
        if wanted and time.monotonic() > deadline:
            raise StackError(
                f"{len(wanted)} documents did not come to Qdrant within {timeout_s:.0f} s: see "
                ".weir/log/sink-qdrant-0.log"
            )
        if wanted:
            time.sleep(0.1)
