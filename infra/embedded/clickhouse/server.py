"""The command that serves the embedded ClickHouse to unmodified ClickHouse clients.

`python -m infra.embedded.clickhouse.server --home DIR --port N` serves ClickHouse's HTTP protocol
on 127.0.0.1. The engine and the server are loaded only once folder and port are ours: a refusal
takes no time, and a supervisor that only asks for the command loads neither.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from infra.embedded.serving import bound, owned, serve

READY_PATH = "/ping"


def argv(home: Path, port: int) -> list[str]:
    """The command that a supervisor starts."""
    return [
        sys.executable,
        "-m",
        "infra.embedded.clickhouse.server",
        "--home",
        str(home),
        "--port",
        str(port),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="ClickHouse's engine behind its HTTP protocol.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--host", default="127.0.0.1")
    args = parser.parse_args()
    started_s = time.monotonic()
    # The engine takes its time zone from here, and rows must not depend on the machine's.
    os.environ["TZ"] = "UTC"
    with owned(args.home.resolve()) as home, bound(args.host, args.port) as sock:
        from infra.embedded.clickhouse.engine import Engine
        from infra.embedded.clickhouse.http import application

        try:
            engine = Engine(home / "data")
        except RuntimeError as error:
            raise SystemExit(
                f"ClickHouse cannot open {home}: {error}. Free disk space if it is full; "
                "if the folder is damaged, move it away and replay from Kafka."
            ) from error
        print(
            f"clickhouse {engine.version} on http://{args.host}:{sock.getsockname()[1]} "
            f"home={home} pid={os.getpid()} opened in {time.monotonic() - started_s:.1f} s",
            flush=True,
        )
        serve(application(engine), sock)
        engine.close()


if __name__ == "__main__":
    main()
