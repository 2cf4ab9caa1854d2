"""Runs the toy's talking stage as a real process that is made to fail at chosen moments.

`python -m tests.support.talk_worker KEY SLOT URL FAULTS`, FAULTS being JSON: see `Faults`.
"""

import json
import os
import random
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer
from pydantic import BaseModel

from schemas.catalogue import event_classes
from schemas.wire.codec import Codec, LocalIds
from sinks.http import http_client
from streams.config import settings
from streams.engine.stages.buffer import Buffer
from streams.engine.stages.worker import Stage
from streams.engine.transactions import AbortedError
from streams.engine.worker import RECORDS_ONLY, Worker, execute, start_logging
from tests.support.toy_talk import TALK, Said, Words

SILENCE_S = 40.0
"""A process that is stopped on purpose is left to the broker's fences, and not to its watchdog."""


class Faults(BaseModel):
    """Shares of the transactions in which the process is killed or the transaction is aborted, and
    the slot that stops at its nth transaction that holds nothing but answers.
    """

    kill: float = 0.0
    abort: float = 0.0
    stop_slot: int = -1
    stop_at: int = 0
    reload: bool = True


class StoppingConsumer:
    """The consumer, but the process stands still once after it was asked for its membership."""

    def __init__(self, consumer: Consumer):
        self._consumer, self.armed = consumer, False

    def consumer_group_metadata(self) -> Any:
        known = self._consumer.consumer_group_metadata()
        if self.armed:
            self.armed = False
            os.kill(os.getpid(), signal.SIGSTOP)
        return known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)


class Faulty(Stage):
    """The stage worker with faults."""

    def __init__(self, slot: int, worker: Worker, ports: dict[str, Any], faults: Faults):
        super().__init__(settings(), "session", slot, worker, TALK, ports)
        self._faults, self._dice = faults, random.Random()
        self._answers_only = 0
        self._consumer = StoppingConsumer(self._consumer)
        self._stops = faults.stop_slot == slot and faults.stop_at > 0

    def _write_state(self, buffer: Buffer) -> None:
        super()._write_state(buffer)
        if buffer.answered and not buffer.messages:
            self._answers_only += 1
            self._consumer.armed = self._stops and self._answers_only == self._faults.stop_at
        if self._dice.random() < self._faults.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._dice.random() < self._faults.abort:
            raise AbortedError("on purpose")

    def _abort(self, why: str) -> None:
        if self._faults.reload:
            return super()._abort(why)
        self._transactions.abort()
        self._forget_buffer()
        self._ownership.assign(self._consumer)
        self._ask_again()
        return None


def main(argv: list[str]) -> None:
    start_logging()
    _, slot, url, faults = argv
    ids = LocalIds(event_classes())
    worker = Worker(settings(), f"talk-{slot}", ids=ids, inputs=RECORDS_ONLY, silence_s=SILENCE_S)
    worker.codec = Codec(ids)
    http = http_client(600, True)

    async def model(asked: Words) -> Said:
        body = {"id": asked.ident, "words": asked.words, "wait_ms": asked.wait_ms}
        answer = await http.post(url, json=body, timeout=60)
        return Said(answer.json()["text"], datetime.now(UTC))

    made = Faults.model_validate(json.loads(faults))
    execute(worker, lambda: Faulty(int(slot), worker, {"model": model}, made).run())


if __name__ == "__main__":
    main(sys.argv[1:])
