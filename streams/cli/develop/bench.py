"""`weir bench` and `weir chaos`: measurements, and exactness while processes are killed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from streams.cli.output import AsJson, err, out, progress, say_json, table
from streams.config import settings

APART = ("found", "slowest", "met")
"""What of a chaos run is shown beside its table of figures."""
bench = typer.Typer(no_args_is_help=True, add_completion=False)


@bench.callback()
def _bench() -> None:
    """A group, so that further benchmarks get names of their own."""


@bench.command("engine", help="Our stage worker beside a Faust agent, on one broker, in one run.")
def engine(
    seconds: Annotated[float, typer.Option(help="About how long each measurement may take.")] = 20,
    only: Annotated[list[str], typer.Option(help="Only these rows.")] = [],
    as_json: AsJson = False,
) -> None:
    from streams.lab.bench_engine import engine as measured

    with progress("measuring") as update:
        result = measured.run(
            settings(), seconds, lambda done, total, words: update(done, words, total), only
        )
    out.print(measured.table(result))
    if as_json:
        say_json(result)


@bench.command(
    "agents",
    help="Steps, many at once, children, long contexts, words read as they are said, on the "
    "whole stack.",
)
def agents(
    seconds: Annotated[float, typer.Option(help="How long runs are asked for.")] = 20,
    as_json: AsJson = False,
) -> None:
    from streams.lab.bench_stack import agents as measured

    with progress("measuring") as update:
        result = measured.run(settings(), seconds, lambda words: update(0, words))
    out.print(
        table(
            "Agents",
            ("figure", "measured", "target", ""),
            [
                (
                    name,
                    f"{result[name]:,.1f}",
                    f"{'>=' if name in measured.AT_LEAST else '<='} {target}",
                    "met" if result["met"][name] else "NOT met",
                )
                for name, target in measured.TARGETS.items()
            ],
            numbers=("measured", "target"),
        )
    )
    if as_json:
        say_json(result)


@bench.command("analytics", help="The dashboards' queries over millions of spans.")
def analytics(
    spans: Annotated[int, typer.Option(min=100_000, help="How many.")] = 20_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="How often each query is asked.")] = 5,
    as_json: AsJson = False,
) -> None:
    from streams.lab.bench_engine import analytics as measured

    with progress("measuring", 100) as update:
        result = measured.run(
            settings(), spans, repeats, lambda done, words: update(done * 100, words)
        )
    out.print(
        table(
            f"{result['spans']:,} spans of thirty days, {result['runs']:,} runs",
            ("query", "95th percentile, s"),
            [
                (one["title"], f"{one['p95_s']:.3f}")
                for one in sorted(result["queries"], key=lambda one: -one["p95_s"])
            ],
            numbers=("95th percentile, s",),
        )
    )
    out.print(
        f"all queries: p50 {result['p50_s']:.3f} s, p95 {result['p95_s']:.3f} s (target "
        f"{measured.TARGETS['p95_s']:g} s); at "
        f"100 million spans, if it grows as they do: {result['extrapolated_100m_p95_s']} s; a "
        "trace of 10,000 spans in "
        f"{result['trace_s']} s; at most {result['parts_most']} parts a partition"
    )
    if as_json:
        say_json(result)


@bench.command(
    "otlp", help="Spans of other applications: taken by the gateway, mapped, landed in ClickHouse."
)
def otlp(
    seconds: Annotated[
        float, typer.Option(min=1, help="How long spans are sent to the whole stack.")
    ] = 60,
    rate: Annotated[int, typer.Option(min=0, help="Spans a second; 0: as many as go.")] = 3_000,
    spans: Annotated[
        int, typer.Option(min=1, help="How many in one process, without Kafka and ClickHouse.")
    ] = 50_000,
    as_json: AsJson = False,
) -> None:
    from streams.lab.bench_stack import otlp_process as alone
    from streams.lab.bench_stack import otlp_stack as whole

    with progress("measuring") as update:
        result = alone.run(settings(), spans, lambda done, total, words: update(done, words, total))
        result |= {
            "whole": whole.run(
                settings().home.resolve() / "bench-otlp",
                seconds,
                rate,
                lambda words: update(0, words),
            )
        }
    title = (
        f"Spans of {result['bytes_a_span']} bytes, {result['cores']} cores, load "
        f"{result['load_before']} before"
    )
    out.print(
        table(
            title,
            ("one process", "spans/s", "spans a second of processor time"),
            [
                (row["what"], f"{row['spans_s']:,}", f"{row['spans_cpu_s']:,}")
                for row in result["rows"]
            ],
        )
    )
    print_whole(result["whole"])
    if as_json:
        say_json(result)


def print_whole(found: dict) -> None:
    out.print(
        table(
            f"The whole stack, {found['spans']:,} spans in {found['seconds']} s",
            ("worker", "cpu ms a 1,000 spans", "MB before", "MB after"),
            [
                (name, f"{one['cpu_ms_1000_spans']:,.1f}", *map(str, one["memory_mb"]))
                for name, one in found["workers"].items()
            ],
            numbers=("cpu ms a 1,000 spans", "MB before", "MB after"),
        )
    )
    out.print(
        f"taken {found['taken_s']:,} spans/s, landed {found['landed_whole_s']:,} spans/s; the "
        "last was a row "
        f"{found['late_s']} s after it was taken; {found['cpu_ms_1000_spans']:,} cpu ms a 1,000 "
        "spans; workers' memory "
        f"{found['memory_grew']:+.0%}; target 3,000 spans/s: {'met' if found['met'] else 'NOT met'}"
    )


@bench.command(
    "gateway",
    help="The gateway before a scripted model, and LiteLLM's proxy beside it, in one run.",
)
def gateway(
    seconds: Annotated[float, typer.Option(help="How long each measurement takes.")] = 15,
    rate: Annotated[float, typer.Option(help="Requests a second, steadily.", min=1)] = 50,
    connections: Annotated[
        int, typer.Option(help="Connections for the most requests a second.", min=1)
    ] = 32,
    as_json: AsJson = False,
) -> None:
    from streams.lab.bench_stack import gateway as measured

    with progress("measuring") as update:
        result = measured.run(
            measured.of_settings(settings()),
            seconds,
            rate,
            connections,
            lambda words: update(0, words),
        )
    names = ("p50_ms", "p95_ms", "p99_ms")
    out.print(
        table(
            f"Chat completions, {rate:g} a second; most at {connections} connections",
            (
                "what",
                *names,
                *(f"+ {name}" for name in names),
                "most a second",
                "cpu ms a request",
                "failed",
            ),
            [
                (
                    row["what"],
                    *(f"{row[name]:.1f}" for name in names),
                    *(
                        f"{row[f'overhead_{name}']:.1f}" if f"overhead_{name}" in row else ""
                        for name in names
                    ),
                    f"{row['most_per_s']:,.0f}",
                    row["cpu_ms"],
                    row["failed"],
                )
                for row in result["rows"]
            ],
            numbers=(*names, *(f"+ {n}" for n in names), "most a second"),
        )
    )
    for row in result["rows"]:
        if len(row["cpu_ms_by"]) > 1:
            err.print(
                "cpu ms a request: "
                + ", ".join(f"{name} {ms}" for name, ms in row["cpu_ms_by"].items())
            )
    err.print(
        f"peer: {result['peer']}; load of the machine before: {result['load_before']:.2f}",
        markup=False,
    )
    if as_json:
        say_json(result)


def chaos(
    kills: Annotated[int, typer.Option(min=1, help="How many processes are killed.")] = 40,
    seed: Annotated[int, typer.Option(help="The same seed kills in the same order.")] = 7,
    rate: Annotated[float, typer.Option(help="Requests a second.", min=0.1)] = 8,
    scenario: Annotated[
        str,
        typer.Option(
            help="random: everything, at any time; agents: workers, at each boundary of a "
            "step; clickhouse-outage."
        ),
    ] = "random",
    runs: Annotated[int, typer.Option(min=1, help="Requests of the scenario agents.")] = 2_000,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long the outage lasts.")] = 10,
    negative_control: Annotated[
        str, typer.Option(help="transactions or tokens: switch them off; it must be found out.")
    ] = "",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder with data and logs.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Kills workers and engines with -9 under load, then counts what was lost, doubled or out of
    order.
    """
    from streams.lab.chaos import run

    if negative_control not in ("", "transactions", "tokens"):
        raise typer.BadParameter("it is `transactions` or `tokens`")
    if scenario not in run.SCENARIOS:
        raise typer.BadParameter(
            f"it is one of {', '.join(run.SCENARIOS)}", param_hint="--scenario"
        )
    home = settings().home.resolve() / f"chaos-{negative_control or 'run'}"
    trouble = run.Trouble(
        scenario, kills, seed, rate, runs=runs, minutes=minutes, control=negative_control
    )
    with progress("kills", kills if scenario == "random" else None) as update:
        result = run.run(
            Path(home),
            trouble,
            lambda words: update(0, words),
            lambda done, words: update(done, words),
            keep,
        )
    print_chaos(result)
    if as_json:
        say_json(result)
    wrong = any(result[name] for name in run.MUST_BE_NOTHING)
    raise typer.Exit(int(not wrong) if negative_control else int(wrong))


def _plain(value: Any) -> Any:
    """Counts by name without those that are nothing."""
    return (
        ", ".join(f"{name} {n}" for name, n in value.items() if n)
        if isinstance(value, dict)
        else value
    )


def print_chaos(result: dict) -> None:
    from streams.lab.chaos.kill_plan import RESUMED_S

    out.print(
        table(
            "Chaos",
            ("", ""),
            [(name, _plain(value)) for name, value in result.items() if name not in APART],
        )
    )
    if result["slowest"]:
        out.print(
            table(
                "Slowest to move again",
                ("killed", "at", "when", "s"),
                [
                    (one["service"], one["boundary"], one["at"], one["resumed_s"])
                    for one in result["slowest"]
                ],
                numbers=("s",),
            )
        )
    for met in result["met"].values():
        out.print(
            f"moving again after a crash, p99: {result['resume_p99_s']} s (target {RESUMED_S} s): "
            f"{'met' if met else 'NOT met'}"
        )
    for words in result["found"]:
        err.print("  " + words, markup=False)
    if result["control"]:
        err.print(
            f"negative control, {result['control']} off: "
            + ("found out" if result["found"] else "NOT found out")
        )
