"""Connections of commands to the engines, with clear errors where one is down."""

from typing import Any

from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from confluent_kafka import KafkaException

from schemas.wire.codec import Codec
from sinks.clickhouse import connection
from sinks.objects import ObjectStore
from streams.config import Settings
from streams.engine import kafka
from streams.engine.errors import UserError
from streams.engine.schema_registry import Registry

KAFKA_S = 5


def codec_of(settings: Settings) -> Codec:
    """A codec on the registry of these settings."""
    await_kafka(settings)
    return Codec(Registry(settings), ObjectStore(settings.object_store()))


def await_kafka(settings: Settings) -> None:
    """Raises a UserError where no broker answers within a few seconds."""
    try:
        kafka.admin(settings).list_topics(timeout=KAFKA_S)
    except KafkaException as error:
        raise UserError(
            f"Kafka does not answer at {settings.bootstrap()}: start the stack with `./weir up`, "
            "or set "
            "WEIR_KAFKA; `./weir status` tells what runs"
        ) from error


def rows_of(
    settings: Settings, sql: str, parameters: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The rows of a query, each by column name. A UserError says why there are none to be had."""
    try:
        client = connection.connect(settings.clickhouse(), settings.clickhouse_database)
        try:
            return list(client.query(sql, parameters=parameters or {}).named_results())
        finally:
            client.close()
    except DatabaseError as error:
        if "HTTPConnectionPool" in str(
            error
        ):  # the client tells a server that is away as an error of the database
            raise _away(settings, error) from error
        raise UserError(f"ClickHouse refused the query: {str(error).splitlines()[0]}") from error
    except (ClickHouseError, OSError) as error:
        raise _away(settings, error) from error


def _away(settings: Settings, error: Exception) -> UserError:
    return UserError(
        f"ClickHouse does not answer at {settings.clickhouse()}: start the stack with `./weir up`, "
        f"or set WEIR_CLICKHOUSE_URL ({str(error).splitlines()[0][:200]})"
    )
