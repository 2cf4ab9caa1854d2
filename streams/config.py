"""What is set from outside, and what are the defaults? The only place that reads the environment.

Every setting is an environment variable `WEIR_<NAME>`. Defaults point at the embedded stack on this
machine; any of the four engines is pointed at a real server by its own setting, and the embedded
one is then not started.
"""

import json
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """All settings, frozen. `secret(reference)` resolves `env:NAME`."""

    model_config = SettingsConfigDict(env_prefix="WEIR_", frozen=True, env_nested_delimiter=None)

    home: Path = Field(Path(".weir"), description="folder of the embedded stack: data, logs, pids")

    kafka: dict[str, str] = Field(
        {},
        description="JSON of librdkafka properties of a real Kafka (bootstrap.servers, TLS, SASL); "
        "empty: embedded",
    )
    kafka_port: Port = Field(9092, description="port of the embedded broker")
    registry_url: str = Field(
        "", description="URL of a Confluent-compatible schema registry; empty: embedded"
    )
    registry_auth: SecretStr = Field(SecretStr(""), description="user:password of the registry")
    registry_port: Port = Field(8081, description="port of the embedded registry")
    clickhouse_url: str = Field(
        "", description="http(s)://user:password@host:port of ClickHouse; empty: embedded"
    )
    clickhouse_port: Port = Field(8123, description="port of the embedded ClickHouse")
    clickhouse_database: str = Field("weir", description="database that holds the tables")
    clickhouse_replicated: bool = Field(
        False,
        description="tables replicated over the replicas of one shard; needs Keeper and the macros "
        "shard and replica",
    )
    qdrant_url: str = Field("", description="URL of a Qdrant; empty: embedded")
    qdrant_key: SecretStr = Field(SecretStr(""), description="API key of Qdrant")
    qdrant_port: Port = Field(6333, description="port of the embedded Qdrant")
    qdrant_collection: str = Field("weir", description="collection that holds the chunks")
    live_port: Port = Field(6066, description="port of the live views")
    services_port: Port = Field(
        8090, description="port of the scripted model and tools of the demo"
    )
    gateway_port: Port = Field(
        8080,
        description="port of the gateway: HTTP for requests, results, OpenAI's and Anthropic's "
        "clients",
    )
    gateway_host: str = Field(
        "127.0.0.1",
        description="address that the gateway listens on; another than this needs API keys",
    )
    gateway_keys: bool = Field(
        False, description="API keys on this machine too; elsewhere they are always needed"
    )
    gateway_accept_s: float = Field(
        2.0, gt=0, description="longest wait for Kafka to take a request, before 503"
    )
    gateway_wait_s: float = Field(
        120, gt=0, description="longest wait for a run's outcome in one HTTP request, before 504"
    )
    gateway_in_flight: Annotated[int, Field(ge=1)] = Field(
        1_000, description="most HTTP requests at once, before 503"
    )
    gateway_body_bytes: Annotated[int, Field(ge=1)] = Field(
        4 * 1024 * 1024, description="largest HTTP body, before 413"
    )
    gateway_slow_s: float = Field(
        30,
        gt=0,
        description="how long a reader of a stream may take nothing, and a body may take to come",
    )
    gateway_memory_mb: Annotated[int, Field(ge=1)] = Field(
        64, description="what the gateway keeps of runs in memory"
    )
    metrics_port: Port = Field(
        9400, description="first port of the workers' /healthz, /readyz and /metrics"
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="address of these; 0.0.0.0 where Prometheus or a probe is elsewhere",
    )

    prefix: str = Field(
        "", description="put before every topic, group and transactional id, to share a cluster"
    )
    replication: Annotated[int, Field(ge=1)] = Field(
        1, description="replication factor of the topics"
    )
    partitions: Annotated[int, Field(ge=1)] = Field(
        1,
        description="partitions of each topic; can be raised only while the topics are empty",
    )

    batch_events: Annotated[int, Field(ge=1)] = Field(
        4_000, description="most events in one transaction"
    )
    idle_close_s: float = Field(
        5.0, gt=0, description="quiet seconds after which a partition's windows may close"
    )
    future_s: float = Field(300, gt=0, description="how far in the future an event's time may lie")
    expired_days: float = Field(30, gt=0, description="how old an event's time may be")
    dead_share_max: float = Field(
        0.5, gt=0, le=1, description="share of dead letters at which a consumer stops"
    )
    calls_at_once: Annotated[int, Field(ge=1)] = Field(
        500, description="most calls in flight in one worker that makes calls"
    )
    python_tools: str = Field(
        "",
        description="Python packages and modules, with commas between, whose functions may be "
        "tools; empty: none",
    )
    mcp_commands: str = Field(
        "",
        description="programs, with commas between, that may be started as MCP servers; empty: none",
    )
    cache_path: str = Field(
        "", description="file of the response cache; empty: responses.sqlite in WEIR_HOME"
    )
    objects: str = Field(
        "",
        description="fsspec URL of the store of what is too large for an event, e.g. "
        "s3://bucket/weir; empty: the folder "
        "objects in WEIR_HOME",
    )
    sink_rows: Annotated[int, Field(ge=1)] = Field(20_000, description="most rows in one insert")
    sink_age_s: float = Field(
        0.5, gt=0, description="shortest wait of an event for others of its insert"
    )
    sink_age_max_s: float = Field(
        3.0, gt=0, description="longest wait of an event for others of its insert"
    )
    sink_inserts_per_s: float = Field(
        4.0, gt=0, description="inserts a second that a sink worker aims at, by waiting longer"
    )
    retention_days: Annotated[int, Field(ge=1)] = Field(
        365, description="how long ClickHouse keeps rows"
    )
    control: Literal["", "transactions", "tokens", "offsets", "words"] = Field(
        "",
        description="negative control of `weir chaos`: switches one guarantee off, to prove that "
        "it is missed",
    )
    otlp_endpoint: str = Field(
        "",
        description="OTLP collector (http://host:4318) for spans of runs, spans and metrics of the "
        "pipeline; empty: none",
    )
    otlp_headers: dict[str, str] = Field(
        {}, description="JSON of HTTP headers that the collector asks for"
    )
    otlp_content: bool = Field(
        False, description="what was asked and answered goes to the collector too (personal)"
    )
    semconv_opt_in: str = Field(
        "",
        validation_alias=AliasChoices(
            "WEIR_SEMCONV_OPT_IN", "OTEL_SEMCONV_STABILITY_OPT_IN", "semconv_opt_in"
        ),
        description="gen_ai_latest_experimental: newest GenAI names, else those of 1.36; also "
        "OTEL_SEMCONV_STABILITY_OPT_IN",
    )

    def environment(self) -> dict[str, str]:
        """The environment variables that give a child process these settings, and none of its
        parent's.
        """
        return {f"WEIR_{name.upper()}": _as_variable(value) for name, value in self}

    def child_environment(self) -> dict[str, str]:
        """The whole environment of a child process that shall have these settings and no others."""
        return os.environ | self.environment()

    def bootstrap(self) -> str:
        return self.kafka.get("bootstrap.servers", f"127.0.0.1:{self.kafka_port}")

    def kafka_properties(self) -> dict[str, str]:
        """What every Kafka client is given: the user's properties, whatever they are."""
        return self.kafka | {"bootstrap.servers": self.bootstrap()}

    def registry(self) -> str:
        return self.registry_url or f"http://127.0.0.1:{self.registry_port}/apis/ccompat/v7"

    def clickhouse(self) -> str:
        return self.clickhouse_url or f"http://127.0.0.1:{self.clickhouse_port}"

    def responses(self) -> Path:
        """The file of the response cache."""
        return Path(self.cache_path) if self.cache_path else self.home / "responses.sqlite"

    def object_store(self) -> str:
        """The URL of the store of large bodies, or a folder."""
        return self.objects or str((self.home / "objects").resolve())

    def qdrant(self) -> str:
        return self.qdrant_url or f"http://127.0.0.1:{self.qdrant_port}"


def names_in(text: str) -> tuple[str, ...]:
    """The names in a setting that is a list with commas."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _as_variable(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def environment_with(more: dict[str, str]) -> dict[str, str]:
    """The environment of a child process that is no part of Weir."""
    return os.environ | more


@cache
def settings() -> Settings:
    """The settings of this process. Raises pydantic's ValidationError, which the CLI turns into a
    sentence.
    """
    return Settings.model_validate({})


def secret(reference: str) -> str:
    """The secret that `env:NAME` names. Raises KeyError with a sentence where it is not set."""
    name = reference.removeprefix("env:")
    if name not in os.environ:
        raise KeyError(f"the secret {reference} is not set: export {name} where the workers start")
    return os.environ[name]
