"""A real Kafka broker and schema registry for a test session.

One broker serves a whole test session; tests are isolated by the names of their topics and groups.
The registry takes seconds more to start, so it is started on demand. The jars are the project's own
(`.weir/jars`).
"""

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from infra.embedded import kafka, registry, stack

JAR_HOME = stack.PROJECT / ".weir" / "jars"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses at the moment, all different."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Engines:
    """The engines of one test session: a broker, and a registry that is started on demand.

    The broker and the registry are two stacks, in `home` and `home`/with-registry, each under its
    own supervisor.
    """

    def __init__(self, home: Path):
        self.home = home
        port, controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        broker = kafka.service(home, port, controller_port, "short", JAR_HOME)
        self.handles = [stack.start(home, [broker], attached=True)]
        stack.wait_ready(home, timeout_s=150)

    @cached_property
    def registry_url(self) -> str:
        home = self.home / "with-registry"
        # Chosen now: a port reserved at the start may be a client's by this time.
        [port] = free_ports(1)
        service = registry.service(home, port, self.bootstrap, "short", JAR_HOME)
        self.handles.append(stack.start(home, [service], attached=True))
        stack.wait_ready(home, timeout_s=150)
        return registry.url(port)

    def close(self) -> None:
        for handle in reversed(self.handles):
            handle.close(at_once=True)


@contextlib.contextmanager
def engines() -> Iterator[Engines]:
    """For a session fixture: `with engines() as running: yield running`. Removes the data."""
    home = Path(tempfile.mkdtemp(prefix="weir-tests-"))
    started = None
    try:
        started = Engines(home)
        yield started
    finally:
        if started:
            started.close()
        shutil.rmtree(home, ignore_errors=True)
