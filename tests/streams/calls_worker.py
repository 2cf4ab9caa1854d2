"""How do tests run a call runner as a real process, to be killed? `python -m tests.streams.calls_worker SLOT URL`."""

import sys

from processors import model, tools
from schemas.agent import (
    ModelAsked,
    ModelFailed,
    ModelResponded,
    ToolCalled,
    ToolFailed,
    ToolReturned,
    ToolUncertain,
)
from schemas.base import event_classes
from schemas.codec import Codec, LocalIds
from schemas.registry import Agent, Definitions, Model, Tool
from schemas.tools import Reconcile
from sinks.objects import Objects
from streams.calls import runner
from streams.config import settings
from streams.shapes import Call, Step
from streams.worker import Worker, execute, start_logging

STEPS = (
    Step("ask_model", ModelAsked, Call(model.ask, "chat", model.tell), ModelResponded | ModelFailed, given=True),
    Step("use_tool", ToolCalled, Call(tools.ask, "tool", tools.tell), ToolReturned | ToolFailed | ToolUncertain,
         given=True),
)


def defined(url: str) -> Definitions:
    return Definitions.of(Tool(name="wait", url=f"{url}/tools/wait", parameters={"type": "object"},
                               reconcile=Reconcile(url=f"{url}/tools/happened/{{key}}")),
                          Model(name="m", provider="stub", base_url=url, upstream="m"),
                          Model(name="talker", provider="stub", base_url=f"{url}/talk", upstream="m", stream=True),
                          Agent(name="a", prompt="", model="talker"))


class Given(Worker):
    """A worker whose definitions are told and not followed."""

    def __init__(self, slot: int, url: str):
        super().__init__(settings(), f"calls-{slot}", ids=LocalIds(event_classes()), follows=False)
        self.codec = Codec(LocalIds(event_classes()), Objects(settings().object_store()))
        self._told = defined(url)

    def given(self) -> Definitions:
        return self._told


if __name__ == "__main__":
    start_logging()
    slot, url = int(sys.argv[1]), sys.argv[2]
    worker = Given(slot, url)
    execute(worker, lambda: runner.run(settings(), slot, worker, STEPS))
