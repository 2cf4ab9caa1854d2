"""`weir replay` and `weir load`: recorded conversations and real arrivals."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any
from uuid import uuid4

import httpx
import typer

from infra.embedded.scripted import recorded
from streams import app
from streams.cli.operate.stack import running_with_progress
from streams.cli.output import AsJson, err, out, progress, say_json, table
from streams.config import settings
from streams.definitions.folder import Company
from streams.engine.errors import UserError
from streams.lab.replay import player, recording, traffic
from streams.operations.connections import codec_of, rows_of
from streams.operations.deploy import apply_and_wait
from streams.operations.figures import percentile

COUNTS = {
    "model_calls": "SELECT count() AS n FROM token_usage WHERE startsWith(session, {batch:String})",
    "tool_calls": "SELECT count() AS n FROM spans WHERE operation = 'execute_tool' AND "
    "startsWith(session, {batch:String})",
    "runs": "SELECT count() AS n FROM runs WHERE startsWith(session, {batch:String})",
    "conversations": "SELECT uniqExact(session) AS n FROM runs WHERE startsWith(session, "
    "{batch:String})",
}
SUMS = """SELECT count() AS requests, sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens
FROM token_usage WHERE startsWith(session, {batch:String})"""


def replay(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL: a conversation a line, with `messages`, or a multi-turn case of "
            "the Berkeley Function-Calling Leaderboard.",
            exists=True,
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Plays recorded conversations through the whole pipeline and compares message by message."""
    talks = recording.read(file)
    batch = f"replay-{uuid4().hex[:8]}"
    with (
        TemporaryDirectory() as folder,
        running_with_progress(settings()),
        service(
            "recorded", recorded.argv(in_messages(talks, Path(folder)), port := free_port()), port
        ),
    ):
        codec = codec_of(settings())
        apply_and_wait(
            settings(), Company(recording.definitions(talks, f"http://127.0.0.1:{port}"), ())
        )
        with progress("conversations", len(talks)) as update:
            played = player.play(settings(), codec, talks, batch, update)
        wrong = {
            talk.number: why
            for talk in talks
            if (why := player.difference(talk, played[talk.number]))
        }
        wanted = {
            "conversations": len(talks),
            "model_calls": sum(t.model_calls for t in talks),
            "tool_calls": sum(t.tool_calls for t in talks),
            "runs": sum(len(t.turns) for t in talks),
        }
        landed = await_landed(batch, wanted)
    result = wanted | {"equal": len(talks) - len(wrong), "landed": landed}
    for number, why in list(wrong.items())[:10]:
        err.print(f"conversation {number}: {why}", markup=False)
    out.print(
        table(
            "Replay",
            ("", "recorded", "in ClickHouse"),
            [(k, v, landed[k]) for k, v in wanted.items()],
        )
    )
    err.print(f"{result['equal']} of {len(talks)} conversations are equal, message by message")
    if as_json:
        say_json(result)
    raise typer.Exit(0 if not wrong and landed == wanted else 1)


def in_messages(talks: tuple[recording.Conversation, ...], folder: Path) -> Path:
    """A file of the conversations as messages, whatever they were recorded as."""
    path = folder / "conversations.jsonl"
    path.write_text(recording.as_lines(talks), encoding="utf-8")
    return path


def await_landed(batch: str, wanted: dict[str, int], timeout_s: float = 30) -> dict[str, int]:
    """The counts in ClickHouse, once they are as wanted, or as they are when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        landed = {
            name: rows_of(settings(), sql, {"batch": batch + "-"})[0]["n"]
            for name, sql in COUNTS.items()
        }
        if landed == wanted or time.monotonic() > deadline:
            return {name: landed[name] for name in wanted}
        time.sleep(0.2)


def load(
    trace: Annotated[
        Path,
        typer.Option(
            "--trace", help="CSV with replay_ms, input_tokens, output_tokens.", exists=True
        ),
    ],
    speed: Annotated[float, typer.Option(help="How many times faster than it was.", min=0.001)] = 1,
    limit: Annotated[int, typer.Option(help="Only the first N requests; 0 for all.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Replays real arrivals with a model that reports the trace's tokens, and compares the sums in
    ClickHouse.
    """
    arrivals = traffic.read(trace, limit)
    batch = f"load-{uuid4().hex[:8]}"
    with (
        running_with_progress(settings()),
        service("recorded", recorded.argv(None, port := free_port()), port),
    ):
        codec = codec_of(settings())
        apply_and_wait(settings(), Company(traffic.definitions(f"http://127.0.0.1:{port}"), ()))
        with progress("requests", len(arrivals)) as update:
            sent = traffic.drive(
                settings(),
                codec,
                arrivals,
                traffic.Pace(speed, batch),
                update,
                lambda sql, given: rows_of(settings(), sql, given),
            )
        landed = rows_of(settings(), SUMS, {"batch": batch})[0]
    result: dict[str, Any] = traffic.sums(arrivals) | {
        "landed": landed,
        "outcomes": sent.outcomes,
        "seconds": round(sent.seconds, 1),
        "result_p50_s": rounded(percentile(sent.result_s, 0.5)),
        "result_p99_s": rounded(percentile(sent.result_s, 0.99)),
        "queryable_p50_s": rounded(percentile(sent.queryable_s, 0.5)),
        "queryable_p99_s": rounded(percentile(sent.queryable_s, 0.99)),
    }
    equal = all(landed[name] == value for name, value in traffic.sums(arrivals).items())
    out.print(
        table(
            "Load",
            ("", "trace", "in ClickHouse"),
            [(name, value, landed[name]) for name, value in traffic.sums(arrivals).items()],
        )
    )
    err.print(
        f"event to queryable: p50 {result['queryable_p50_s']} s, p99 {result['queryable_p99_s']} "
        "s; " + ("the sums are equal" if equal else "THE SUMS DIFFER")
    )
    if as_json:
        say_json(result)
    raise typer.Exit(0 if equal else 1)


def rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


@contextmanager
def service(name: str, argv: list[str], port: int) -> Iterator[None]:
    """A helper process for the length of a block, once it answers /healthz."""
    process = subprocess.Popen(argv, cwd=app.ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not answers(f"http://127.0.0.1:{port}/healthz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"the {name} service did not start: its words are above")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
