"""What is outside the pipeline while everything is killed: a model, a tool that counts, and people who ask?

The tool may never be called twice for one idempotency key; its count is the proof. All of it lives in the chaos run's
own process, which nobody kills.
"""

import json
import random
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID, uuid4

from schemas.codec import Codec
from schemas.knowledge import DocumentPublished
from schemas.registry import Agent, Definition, Model, Tenant, Tool
from streams.client import Publisher, now, request
from streams.config import Settings

AGENT, TENANTS = "teller", ("north", "south")
COUNTED = re.compile(r"charge (\d+)")


class World(ThreadingHTTPServer):
    """The model and the tool, behind HTTP, each call a little slow; `effects` counts calls by idempotency key."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, seed: int, slow_s: float = 0.15):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.effects: Counter[str] = Counter()
        self.asked = 0
        self._random, self._slow_s, self._lock = random.Random(seed), slow_s, threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed is no error here: it happens all the time."""

    def take_time(self) -> None:
        with self._lock:
            pause_s = self._random.uniform(0.005, self._slow_s)
        time.sleep(pause_s)

    def charge(self, key: str) -> dict[str, Any]:
        with self._lock:
            self.effects[key] += 1
        return {"charged": True}

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The model: a user's "charge n" becomes a tool call, a tool's result becomes an answer."""
        with self._lock:
            self.asked += 1
        last = body["messages"][-1]
        number = COUNTED.search(last["content"] or "")
        if last["role"] == "user" and number:
            call = {"id": f"call-{number[1]}", "type": "function",
                    "function": {"name": "charge", "arguments": json.dumps({"number": int(number[1])})}}
            said, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        else:
            said, reason = {"role": "assistant", "content": "done"}, "stop"
        return {"id": "chaos", "object": "chat.completion", "created": 0, "model": "chaos-1",
                "choices": [{"index": 0, "message": said, "finish_reason": reason}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: World

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.server.take_time()
        if self.path.startswith("/v1/"):
            answer = self.server.complete(body)
        else:
            answer = self.server.charge(self.headers.get("Idempotency-Key", ""))
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Silence: thousands of calls are made."""


def definitions(url: str) -> list[Definition]:
    """Two tenants without quotas and an agent whose one tool must never be called twice."""
    tenants = [Tenant(name=name, requests_per_minute=1_000_000, burst=100_000, concurrent_runs=100_000) for name in TENANTS]
    tool = Tool(name="charge", description="Charges once.", url=f"{url}/tools/charge", effect="once", timeout_ms=20_000,
                parameters={"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]})
    model = Model(name="chaos", provider="chaos", base_url=f"{url}/v1", upstream="chaos-1", timeout_ms=20_000,
                  price={"input": "1", "output": "2"})
    return [*tenants, tool, model, Agent(name=AGENT, prompt="Charge what you are told.", model="chaos", tools=("charge",))]


class People(threading.Thread):
    """Asks at a steady rate until told to stop, in many sessions, each request numbered; publishes documents too."""

    def __init__(self, settings: Settings, codec: Codec, rate_s: float, sessions: int = 40, runs: int = 0):
        super().__init__(daemon=True)
        self._publisher, self._rate_s, self._sessions = Publisher(settings, codec), rate_s, sessions
        self._stopped, self._runs = threading.Event(), runs
        self.asked: dict[UUID, tuple[str, int]] = {}
        self.documents = 0

    def run(self) -> None:
        number, began = 0, time.monotonic()
        while not self._stopped.is_set():
            due = int((time.monotonic() - began) * self._rate_s)
            while number < due:
                self._ask(number)
                number += 1
            self._publisher.flush(120)
            self._stopped.wait(0.05)

    def _ask(self, number: int) -> None:
        tenant = TENANTS[number % len(TENANTS)]
        session = f"{tenant}-{number % self._sessions}"
        asked = request(tenant, AGENT, f"charge {number}", session=session)
        self.asked[asked.id] = (f"{tenant}/{session}", number)
        self._publisher.publish(asked)
        if number % 20 == 0:
            self.documents += 1
            self._publisher.publish(DocumentPublished(
                id=uuid4(), at=now(), tenant=tenant, document=f"note-{number % 200}", title=f"Note {number}",
                text=f"Note number {number} says that {number} was charged.\n\n" * (1 + number % 30)))

    @property
    def done(self) -> bool:
        """Have as many requests been asked as were to be? More are, until told to stop: what was killed last moves too."""
        return bool(self._runs) and len(self.asked) >= self._runs

    def stop(self) -> None:
        self._stopped.set()
        self.join(150)
