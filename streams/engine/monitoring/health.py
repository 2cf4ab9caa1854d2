"""Is this worker alive, is it ready, and what are its numbers? Three pages over HTTP, and a
watchdog.
"""

import faulthandler
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log = logging.getLogger(__name__)

HUNG = 7
"""The exit code of a process that its watchdog ended."""


class Heart:
    """When did the worker last say that it goes on? A thread ends the process when that was too
    long ago.

    It also ends one that was paused for longer than the limit: its partitions belong to somebody
    else by now. Until the worker is ready for the first time it owns nothing, and may take as long
    as its imports take.
    """

    def __init__(
        self, limit_s: float, end: Callable[[int], None] = os._exit, starting_s: float = 0
    ):
        self._settled_s, self._end = limit_s, end
        self._limit_s = max(limit_s, starting_s)
        self._last = time.monotonic()
        self._stopped = threading.Event()

    def beat(self) -> None:
        self._last = time.monotonic()

    def settle(self) -> None:
        """The start is over: from now on the limit counts."""
        self.beat()
        self._limit_s = self._settled_s

    @property
    def silent_s(self) -> float:
        return time.monotonic() - self._last

    @property
    def well(self) -> bool:
        return self.silent_s < self._limit_s

    def watch(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(0.5, self._settled_s / 4)):
            if not self.well:
                log.error(
                    "no sign of life for %.1f s (limit %.1f s): the process ends, so that another "
                    "takes over",
                    self.silent_s,
                    self._limit_s,
                )
                faulthandler.dump_traceback(sys.__stderr__ or 2)
                self._end(HUNG)
                return


class Pages:
    """`/healthz`, `/readyz` and `/metrics`. Port 0 picks a free one; `port` says which."""

    def __init__(
        self,
        port: int,
        alive: Callable[[], bool],
        ready: Callable[[], bool],
        metrics: Callable[[], bytes],
        host: str = "127.0.0.1",
    ):
        answers: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/healthz": lambda: _verdict(alive()),
            "/readyz": lambda: _verdict(alive() and ready()),
            "/metrics": lambda: (200, "text/plain; version=0.0.4; charset=utf-8", metrics()),
        }
        self._server = ThreadingHTTPServer((host, port), _handler(answers))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _verdict(good: bool) -> tuple[int, str, bytes]:
    return (200 if good else 503), "application/json", json.dumps({"ok": good}).encode()


def _handler(
    answers: dict[str, Callable[[], tuple[int, str, bytes]]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            missing = (404, "text/plain", f"ask for {', '.join(answers)}\n".encode())
            status, content_type, body = answers.get(self.path.partition("?")[0], lambda: missing)()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A probe every second is no news."""

    return Handler
