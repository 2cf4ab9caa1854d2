"""The thread that writes a sink worker's batches, one after the other, until each is stored."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from schemas.events.base import Event
from sinks.base import Sink
from streams.engine.sinks.batches import SinkBatch
from streams.engine.worker import Worker

log = logging.getLogger(__name__)
RETRY_S = (0.2, 0.5, 1.0, 2.0)


class BatchWriter:
    """Writes one batch at a time. After an error the same rows come again under the same tokens,
    for ever, after a pause.
    """

    def __init__(self, sink: Sink, worker: Worker, name: str):
        self._sink, self._worker, self._name = sink, worker, name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._writing: tuple[SinkBatch, Future[None]] | None = None
        self._failures = 0
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        """Whether a batch is being written, or waits to be tried again."""
        return self._writing is not None

    def pauses(self, now: float) -> bool:
        """Whether the sink just failed: nothing is asked of it until the pause is over."""
        return now < self._not_before

    @property
    def fails(self) -> bool:
        return self._failures > 0

    def write(self, batch: SinkBatch) -> None:
        self._writing = batch, self._thread.submit(self._write, batch)

    def greatest_offsets(
        self, classes: Iterable[type[Event]], partition: int
    ) -> Future[dict[str, int]]:
        """The greatest stored offset of a partition, whatever the class, by the id of its topic;
        the sink is asked between two batches.
        """
        return self._thread.submit(self._greatest_offsets, tuple(classes), partition)

    def _greatest_offsets(self, classes: tuple[type[Event], ...], partition: int) -> dict[str, int]:
        greatest: dict[str, int] = {}
        for kind in classes:
            for topic_id, offset in self._sink.greatest_offsets(kind, partition).items():
                greatest[topic_id] = max(offset, greatest.get(topic_id, offset))
        return greatest

    def stored(self, now: float, wanted: Callable[[SinkBatch], bool]) -> SinkBatch | None:
        """The batch that has just been stored; None while there is none. One that failed and is not
        `wanted` any more, because its partitions have other owners, is dropped.
        """
        if self._writing is None or not self._writing[1].done():
            return None
        batch, future = self._writing
        if (error := future.exception()) is not None:
            if not self.pauses(now):
                self.put_off(f"a batch of {batch.rows} records", error, now)
            self._writing = None
            if wanted(batch):
                self._writing = batch, self._thread.submit(self._again, batch, self._pause_s)
            return None
        self._writing = None
        if self._failures:
            self._failures = 0
            self._worker.ready(True)
        return batch

    def put_off(self, what: str, error: BaseException, now: float) -> None:
        """Notes a failure of the sink; each pause is longer than the one before, up to 2 s."""
        pause_s = self._pause_s
        self._not_before = now + pause_s
        self._failures += 1
        self._worker.ready(False)
        log.warning(
            "%s did not take %s, try %d, the same again in %.1f s: %s: %s",
            self._sink.name,
            what,
            self._failures,
            pause_s,
            type(error).__name__,
            str(error)[:300],
        )

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def _pause_s(self) -> float:
        return RETRY_S[min(self._failures, len(RETRY_S) - 1)]

    def _again(self, batch: SinkBatch, pause_s: float) -> None:
        self._worker.stopping.wait(pause_s)
        self._write(batch)

    def _write(self, batch: SinkBatch) -> None:
        """One insert a group of classes; those that are stored are not repeated after an error."""
        for group, prepared in batch.prepared.items():
            if group not in batch.written:
                with self._worker.metrics.timed(
                    "weir_insert_seconds", consumer=self._name, table=group
                ):
                    self._sink.write(self._sink.joined(prepared), batch.recorded.token(group))
                batch.written.add(group)
