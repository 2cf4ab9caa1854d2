"""The command that serves the embedded Qdrant to unmodified Qdrant clients.

`python -m infra.embedded.qdrant.server --home DIR --port N` serves the part of Qdrant's REST
protocol that Weir uses on 127.0.0.1: collections, payload indexes, writes of points and payloads,
queries with fusion, scroll, count, facet.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from infra.embedded.serving import bound, owned, serve

READY_PATH = "/readyz"


def argv(home: Path, port: int) -> list[str]:
    """The command that a supervisor starts."""
    return [
        sys.executable,
        "-m",
        "infra.embedded.qdrant.server",
        "--home",
        str(home),
        "--port",
        str(port),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Qdrant's engine behind its REST protocol.")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=6333)
    parser.add_argument("--host", default="127.0.0.1")
    args = parser.parse_args()
    began_s = time.monotonic()
    with owned(args.home.resolve()) as home, bound(args.host, args.port) as sock:
        from infra.embedded.qdrant.engine import Collections
        from infra.embedded.qdrant.http import VERSION, application

        try:
            collections = Collections(home / "collections")
        except Exception as error:  # the engine raises bare Exception
            raise SystemExit(
                f"Qdrant cannot open {home}: {error}. Free disk space if it is full; "
                "if the folder is damaged, move it away and replay from Kafka."
            ) from error
        url = f"http://{args.host}:{sock.getsockname()[1]}"
        print(
            f"qdrant {VERSION} (edge) on {url} home={home} "
            f"pid={os.getpid()} collections={len(collections.names())} "
            f"opened in {time.monotonic() - began_s:.1f} s",
            flush=True,
        )
        serve(application(collections), sock)


if __name__ == "__main__":
    main()
