"""The outside world of a chaos run: a model, tools that count their calls, and users.

No tool may be called twice for the number of one request; their counts are the proof. Two requests
of three go to an agent whose model calls a tool, the third to a workflow that reserves, pays and,
where the payment is declined, releases the reservation. All of it lives in the chaos run's own
process, which is never killed.
"""

import json
import random
import re
import threading
import time
from collections import Counter
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from uuid import UUID, uuid4

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant, Tool
from schemas.definitions.patterns import Compensation, Edge, Node, Workflow
from schemas.definitions.prices import Price
from schemas.definitions.tools import HttpTarget
from schemas.events.agent.runs import AgentRequested
from schemas.events.knowledge import DocumentPublished
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.client import Publisher, now, request

TELLER = "teller"
BOOKER = "booker"
TENANTS = ("north", "south")
TOOLS = {
    "charge": "Charges once.",
    "reserve": "Reserves once.",
    "pay": "Pays once, or declines.",
    "release": "Gives a reservation back, once.",
}
COUNTED = re.compile(r"charge (\d+)")


def agent_of(number: int) -> str:
    """The agent of a request."""
    return TELLER if number % 3 else BOOKER


def is_declined(number: int) -> bool:
    """Whether a request's payment is declined."""
    return number % 9 == 0


class World(ThreadingHTTPServer):
    """The model and the tools over HTTP, each call a little slow; `effects` counts tool calls."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, seed: int, slow_s: float = 0.15):
        super().__init__(("127.0.0.1", 0), type("BoundHandler", (_Handler,), {"world": self}))
        self.effects: Counter[tuple[str, int]] = Counter()
        self.asked = 0
        self._random = random.Random(seed)
        self._slow_s = slow_s
        self._lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore callers that were killed."""

    def take_time(self) -> None:
        with self._lock:
            pause_s = self._random.uniform(0.005, self._slow_s)
        time.sleep(pause_s)

    def use(self, tool: str, number: int) -> tuple[int, dict[str, Any]]:
        """The status and the body of a tool's response."""
        if tool == "pay" and is_declined(number):
            return 402, {"error": "card declined"}
        with self._lock:
            self.effects[tool, number] += 1
        return 200, {"done": True}

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The model: it calls a tool for a user's "charge n", and answers a tool's result."""
        with self._lock:
            self.asked += 1
        last = body["messages"][-1]
        number = COUNTED.search(last["content"] or "")
        if last["role"] == "user" and number:
            call = {
                "id": f"call-{number[1]}",
                "type": "function",
                "function": {"name": "charge", "arguments": json.dumps({"number": int(number[1])})},
            }
            said = {"role": "assistant", "content": None, "tool_calls": [call]}
            reason = "tool_calls"
        else:
            said = {"role": "assistant", "content": "done"}
            reason = "stop"
        return {
            "id": "chaos",
            "object": "chat.completion",
            "created": 0,
            "model": "chaos-1",
            "choices": [{"index": 0, "message": said, "finish_reason": reason}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: ClassVar[World]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.world.take_time()
        if self.path.startswith("/v1/"):
            status = 200
            answer = self.world.complete(body)
        else:
            status, answer = self.world.use(self.path.rpartition("/")[2], body["number"])
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: thousands of calls are made."""


def definitions(url: str) -> list[Definition]:
    """Two tenants without quotas, and two agents whose tools must never be called twice."""
    tenants = [
        Tenant(name=name, requests_per_minute=1_000_000, burst=100_000, concurrent_runs=100_000)
        for name in TENANTS
    ]
    tools = [
        Tool(
            name=name,
            description=words,
            target=HttpTarget(url=f"{url}/tools/{name}"),
            effect="once",
            timeout_ms=20_000,
            parameters={
                "type": "object",
                "properties": {"number": {"type": "integer"}},
                "required": ["number"],
            },
        )
        for name, words in TOOLS.items()
    ]
    model = Model(
        name="chaos",
        provider="chaos",
        base_url=f"{url}/v1",
        upstream="chaos-1",
        timeout_ms=20_000,
        price=Price(input=Decimal(1), output=Decimal(2)),
    )
    number = {"number": "input.json.number"}
    booking = Workflow(
        start="reserve",
        nodes={
            "reserve": Node(
                kind="tool",
                tool="reserve",
                arguments=number,
                next=(Edge(to="pay"),),
                compensate=Compensation(tool="release", arguments=number),
            ),
            "pay": Node(kind="tool", tool="pay", arguments=number),
        },
    )
    return [
        *tenants,
        *tools,
        model,
        Agent(name=TELLER, prompt="Charge what you are told.", model="chaos", tools=("charge",)),
        Agent(name=BOOKER, prompt="Book.", model="chaos", pattern="workflow", workflow=booking),
    ]


def asking(number: int, sessions: int) -> AgentRequested:
    """The request of a number, in one of so many sessions."""
    tenant = TENANTS[number % len(TENANTS)]
    agent = agent_of(number)
    text = f"charge {number}" if agent == TELLER else json.dumps({"number": number})
    return request(tenant, agent, text, session=f"{tenant}-{number % sessions}")


class Users(threading.Thread):
    """Users who send numbered requests in many sessions at a steady rate, and publish documents."""

    def __init__(
        self, settings: Settings, codec: Codec, rate_s: float, sessions: int = 40, runs: int = 0
    ):
        super().__init__(daemon=True)
        self._publisher = Publisher(settings, codec)
        self._rate_s = rate_s
        self._sessions = sessions
        self._stopped = threading.Event()
        self._runs = runs
        self.asked: dict[UUID, tuple[str, int]] = {}
        self.documents = 0

    def run(self) -> None:
        number = 0
        began = time.monotonic()
        while not self._stopped.is_set():
            due = int((time.monotonic() - began) * self._rate_s)
            while number < due:
                self._ask(number)
                number += 1
            self._publisher.flush(120)
            self._stopped.wait(0.05)

    def _ask(self, number: int) -> None:
        asked = asking(number, self._sessions)
        self.asked[asked.id] = (f"{asked.tenant}/{asked.session}", number)
        self._publisher.publish(asked)
        if number % 20 == 0:
            self.documents += 1
            self._publisher.publish(
                DocumentPublished(
                    id=uuid4(),
                    at=now(),
                    tenant=asked.tenant,
                    document=f"note-{number % 200}",
                    title=f"Note {number}",
                    text=f"Note number {number} says that {number} was charged.\n\n"
                    * (1 + number % 30),
                )
            )

    @property
    def done(self) -> bool:
        """Whether the planned number of requests was sent; more follow until `stop`."""
        return bool(self._runs) and len(self.asked) >= self._runs

    def stop(self) -> None:
        self._stopped.set()
        self.join(150)
