"""A model outside that counts its calls, and what the committed events of the talking stage show."""

import asyncio
import contextlib
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.embedded.serving import bound
from schemas.events.agent.models import ModelAsked, ModelFailed, ModelResponded
from schemas.events.agent.runs import RequestAdmitted, RunFinished
from schemas.events.base import Event
from schemas.events.operations import DeadLettered
from tests.support.stages import Toy, until
from tests.support.toy_talk import digest, reply, waits, words_of


@dataclass
class Model:
    """A model that answers after `wait_ms`. `asked` counts its calls by id and words."""

    url: str = ""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    under_way: int = 0
    most: int = 0

    async def answer(self, request: Request) -> Response:
        body = await request.json()
        self.asked[body["id"], body["words"]] += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(body["wait_ms"] / 1000)
        finally:
            self.under_way -= 1
        return JSONResponse({"text": reply(body["words"])})


@contextlib.contextmanager
def model() -> Iterator[Model]:
    made = Model()
    socket = bound("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{socket.getsockname()[1]}/model"
    app = Starlette(routes=[Route("/model", made.answer, methods=["POST"])])
    config = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run(sockets=[socket]), daemon=True)
    thread.start()
    until(lambda: server.started, "the model listens")
    try:
        yield made
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def request(session: str, *waits_ms: int) -> RequestAdmitted:
    return RequestAdmitted(
        id=uuid4(),
        at=datetime.now(UTC),
        tenant="acme",
        session=session,
        run=uuid4(),
        agent="a",
        text=",".join(map(str, waits_ms)),
    )


def requests(dice: random.Random, count: int, sessions: int, longest_ms: int) -> list[Event]:
    """Requests of one to three calls; a fifth of them go to a few busy sessions."""
    made: list[Event] = []
    for _ in range(count):
        among = 10 if dice.random() < 0.2 else sessions
        times = [int(longest_ms ** dice.random()) for _ in range(dice.randint(1, 3))]
        made.append(request(f"s{dice.randrange(among)}", *times))
    return made


def wrong(bench: Toy, sent: list[Event]) -> Counter[str]:
    """What the committed events show to be wrong, by kind; nothing where all is exact."""
    found: Counter[str] = Counter()
    asked = [event for event in bench.events(ModelAsked)]
    answers = [*bench.events(ModelResponded), *bench.events(ModelFailed)]
    finished = bench.events(RunFinished)
    words = {event.id: words_of(event) for event in asked if isinstance(event, ModelAsked)}
    found["asked not once"] = sum(n != 1 for n in Counter(e.id for e in asked).values())
    answered = Counter(event.cause for event in answers)
    found["answered not once"] = sum(n != 1 for n in answered.values())
    found["answered not once"] += len(words.keys() ^ answered.keys())
    found["answer to other words"] = sum(
        getattr(event, "content", None) != reply(words.get(event.cause, "")) for event in answers
    )
    found["questions"] = abs(len(asked) - sum(len(waits(event)) for event in sent))
    runs = Counter(event.run for event in finished)
    found["not finished once"] = sum(runs[event.run] != 1 for event in sent)
    found["dead letters"] = len(bench.events(DeadLettered))
    found["chain"] = broken_chains(sent, answers, finished)
    return +found


def broken_chains(sent: list[Event], answers: list[Event], finished: list[Event]) -> int:
    """How many runs ended with another state than that of all answers of their session before."""
    said: dict[UUID, list[str]] = defaultdict(list)
    for event in answers:
        said[event.run].append((event.step, str(getattr(event, "content", None))))
    last = {event.run: (event.text, event.answer) for event in finished}
    chains: dict[str, str] = defaultdict(str)
    done: Counter[str] = Counter()
    broken = 0
    for event in sent:
        done[event.session] += 1
        for _, text in sorted(said[event.run]):
            chains[event.session] = digest(chains[event.session] + text)
        broken += last.get(event.run) != (str(done[event.session]), chains[event.session])
    return broken
