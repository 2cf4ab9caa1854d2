"""The benchmark's works in Quix Streams: exactly once, with state in RocksDB and a changelog.

`python -m streams.lab.bench_engine.quix_worker fold COUNT` runs in an environment of its own (see
`quix.txt`). It prints `took_s`: the time from the first record to the last of so many, as processed
rather than as committed, which is in its favour. The pure functions and the codec are Weir's.
"""

import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from schemas.events.guardrails import VerdictReached
from schemas.events.usage import TokensUsed
from streams.config import Settings, settings
from streams.lab.bench_engine.broker import PARTITIONS, codec
from streams.lab.bench_engine.workload import WORKS, Tally, Work, tally

GROUP = "quix"
COMMIT_S = 1.0
WINDOW_MS = 60_000
GRACE_MS = 10_000


class Stopwatch:
    """Counts processed records, and prints the time from the first to the last."""

    def __init__(self, count: int):
        self._left = count
        self._began = 0.0

    def tick(self) -> None:
        self._began = self._began or time.monotonic()
        self._left -= 1
        if self._left == 0:
            print("took_s", time.monotonic() - self._began, flush=True)


def make_app(configured: Settings, work: Work) -> Any:
    """Quix Streams' application. It is imported here, as only its own environment has it."""
    from quixstreams import Application  # pyright: ignore[reportMissingImports]

    return Application(
        broker_address=configured.bootstrap(),
        consumer_group=f"{configured.prefix}{GROUP}-{work.name}",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=COMMIT_S,
        state_dir=configured.home / "quix" / work.name,
        producer_extra_config={"linger.ms": 20, "compression.type": "lz4"},
        loglevel="WARNING",
    )


def fold(stopwatch: Stopwatch) -> Callable[[bytes, Any], bytes]:
    """Decode, read the state, apply the same pure function, write the state, encode."""
    encoder = codec()

    def step(value: bytes, state: Any) -> bytes:
        known = state.get("tally")
        verdict = cast(VerdictReached, encoder.decode(VerdictReached, value))
        now, [called] = tally(Tally(*known) if known else Tally(), verdict)
        state.set("tally", [now.verdicts, now.findings, now.blocked, now.last_ms])
        result = encoder.encode(called)
        stopwatch.tick()
        return result

    return step


def first(used: TokensUsed) -> dict[str, Any]:
    """The totals of a window's first call."""
    return add(
        {
            "calls": 0,
            "unpriced_calls": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "cost_usd": "0",
        },
        used,
    )


def add(total: dict[str, Any], used: TokensUsed) -> dict[str, Any]:
    """The totals with one more call."""
    return {
        "calls": total["calls"] + 1,
        "unpriced_calls": total["unpriced_calls"] + (used.cost_usd is None),
        "input_tokens": total["input_tokens"] + used.tokens.input_tokens,
        "output_tokens": total["output_tokens"] + used.tokens.output_tokens,
        "cost_usd": str(Decimal(total["cost_usd"]) + (used.cost_usd or 0)),
    }


def run(configured: Settings, work: Work, count: int) -> None:
    from quixstreams.models import TopicConfig  # pyright: ignore[reportMissingImports]

    stopwatch = Stopwatch(count)
    app = make_app(configured, work)
    shape = TopicConfig(num_partitions=PARTITIONS, replication_factor=1)
    raw: dict[str, Any] = {"config": shape}
    raw |= dict.fromkeys(("key_deserializer", "value_deserializer"), "bytes")
    raw |= dict.fromkeys(("key_serializer", "value_serializer"), "bytes")
    source = app.topic(configured.prefix + work.reads.topic(), **raw)
    out = app.topic(f"{configured.prefix}{GROUP}-{work.name}-out", **raw)
    frame = app.dataframe(source)
    if work.name == "fold":
        frame.apply(fold(stopwatch), stateful=True).to_topic(out)
    else:
        decoder = codec()

        def decode(value: bytes) -> Any:
            stopwatch.tick()
            return decoder.decode(work.reads, value)

        windows = frame.apply(decode).tumbling_window(WINDOW_MS, grace_ms=GRACE_MS)
        closed = windows.reduce(reducer=add, initializer=first).final()
        closed.apply(lambda window: json.dumps(window).encode()).to_topic(out)
    app.run()


def main() -> None:
    run(settings(), WORKS[sys.argv[1]], int(sys.argv[2]))


if __name__ == "__main__":
    main()
