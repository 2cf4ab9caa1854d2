"""A call runner as a process that a test kills: `python -m tests.support.calls_worker SLOT URL`."""

import sys

from processors.models import call
from processors.tools import call as tools
from schemas.catalogue import event_classes
from schemas.definitions.kinds import Agent, Definitions, Model, Tool
from schemas.definitions.tools import Reconcile
from schemas.wire.codec import Codec, LocalIds
from sinks.objects import ObjectStore
from streams.config import settings
from streams.engine.calls import worker as runner
from streams.engine.shapes import Call, Step
from streams.engine.worker import RECORDS_ONLY, Worker, execute, start_logging
from streams.ports.wiring import ports

STEPS = (
    Step("ask_model", Call(call.ask, "chat", call.tell)),
    Step("use_tool", Call(tools.ask, "tool", tools.tell)),
)


def defined(url: str) -> Definitions:
    return Definitions.of(
        Tool(
            name="wait",
            url=f"{url}/tools/wait",
            parameters={"type": "object"},
            reconcile=Reconcile(url=f"{url}/tools/happened/{{key}}"),
        ),
        Model(name="m", provider="stub", base_url=url, upstream="m"),
        Model(name="talker", provider="stub", base_url=f"{url}/talk", upstream="m", stream=True),
        Agent(name="a", prompt="", model="talker"),
    )


class Given(Worker):
    """A worker whose definitions are told and not followed."""

    def __init__(self, slot: int, url: str):
        super().__init__(
            settings(), f"calls-{slot}", ids=LocalIds(event_classes()), inputs=RECORDS_ONLY
        )
        self.codec = Codec(LocalIds(event_classes()), ObjectStore(settings().object_store()))
        self._told = defined(url)

    def current_definitions(self) -> Definitions:
        return self._told


if __name__ == "__main__":
    start_logging()
    slot = int(sys.argv[1])
    url = sys.argv[2]
    worker = Given(slot, url)
    execute(worker, lambda: runner.run(settings(), slot, worker, STEPS, ports(settings(), worker)))
