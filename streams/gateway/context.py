"""What all routes of the gateway use: settings, Kafka, ClickHouse and the object store.

Each may be down for a while, which is a problem with a status and a `Retry-After`, never an
internal error.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from sinks.objects import ObjectStore
from streams.config import Settings
from streams.engine.monitoring.telemetry import Metrics
from streams.gateway import limits
from streams.gateway.errors import ProblemError
from streams.gateway.kafka_link import KafkaUnavailableError, Link

Rows = list[dict[str, Any]]
ReadRows = Callable[[str, dict[str, Any]], Rows]
"""ClickHouse, as the routes know it: rows of a query with parameters. It blocks, and is asked in a
thread.
"""


@dataclass
class Gateway:
    """What all routes use."""

    settings: Settings
    link: Link
    tables: ReadRows
    metrics: Metrics = field(default_factory=Metrics)
    bodies: limits.BodyMemory = field(default_factory=limits.BodyMemory)
    objects: ObjectStore = field(init=False)

    def __post_init__(self) -> None:
        self.objects = ObjectStore(self.settings.object_store())

    async def rows(self, sql: str, **parameters: Any) -> Rows:
        """Rows of ClickHouse. Raises ProblemError 503 where it is down."""
        try:
            return await asyncio.to_thread(self.tables, sql, parameters)
        except Exception as error:  # whatever its client raises; the class differs by what is away
            raise ProblemError(
                503,
                "clickhouse_away",
                f"ClickHouse does not answer ({type(error).__name__}): ask again in a "
                "moment; runs of the last minutes are known without it",
                retry_after_s=2,
            ) from error

    async def publish(self, *events: Any) -> None:
        """Returns when Kafka has the events. Raises ProblemError 503."""
        try:
            await self.link.publish(*events)
        except KafkaUnavailableError as error:
            raise ProblemError(503, "kafka_away", str(error), retry_after_s=2) from error


def gateway_of(request: Request) -> Gateway:
    return request.app.state.gateway


GatewayOf = Annotated[Gateway, Depends(gateway_of)]
