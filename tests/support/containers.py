"""Real servers in containers, where Docker is there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from streams.config import Settings
from streams.lab.isolated_stack import own_settings

IMAGES = {
    "kafka": "confluentinc/cp-kafka:8.1.0",
    "registry": "apicurio/apicurio-registry:3.3.3",
    "clickhouse": "clickhouse/clickhouse-server:26.9",
    "qdrant": "qdrant/qdrant:v1.20.0",
}
PORTS = {"registry": 8080, "clickhouse": 8123, "qdrant": 6333}


@contextlib.contextmanager
def servers(home: Path, **more: object) -> Iterator[Settings]:
    """Settings that point at four containers, ended with the block."""
    from testcontainers.community.kafka import KafkaContainer
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    with contextlib.ExitStack() as started:
        broker = started.enter_context(KafkaContainer(IMAGES["kafka"]).with_kraft())
        others = {
            "registry": DockerContainer(IMAGES["registry"]).waiting_for(
                HttpWaitStrategy(8080, "/health/ready")
            ),
            "clickhouse": DockerContainer(IMAGES["clickhouse"])
            .with_env("CLICKHOUSE_SKIP_USER_SETUP", "1")
            .waiting_for(HttpWaitStrategy(8123, "/ping")),
            "qdrant": DockerContainer(IMAGES["qdrant"]).waiting_for(
                HttpWaitStrategy(6333, "/readyz")
            ),
        }
        at = {}
        for name, container in others.items():
            started.enter_context(container.with_exposed_ports(PORTS[name]))
            at[name] = (
                f"http://{container.get_container_host_ip()}:{container.get_exposed_port(PORTS[name])}"
            )
        yield own_settings(
            home,
            kafka={"bootstrap.servers": broker.get_bootstrap_server()},
            registry_url=at["registry"] + "/apis/ccompat/v7",
            clickhouse_url=at["clickhouse"],
            qdrant_url=at["qdrant"],
            **more,
        )
