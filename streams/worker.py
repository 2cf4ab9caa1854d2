"""The entry of every worker: `python -m streams.worker stage session --slot 0 --port 9400`.

It wires a runner of the engine to the topology, the ports and the sinks. Runners are imported when
it is known which one is needed, because a killed worker should be back within a second.
"""

import argparse
import sys
from collections.abc import Callable

from streams.config import Settings, settings
from streams.engine.worker import Inputs, Worker, execute, start_logging


def _stage(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from streams.engine.shapes import Call, stages
    from streams.engine.stages import worker as stage
    from streams.ports.wiring import ports
    from streams.topology import PIPELINE

    steps = stages(PIPELINE).get(asked.what, ())
    wanted = {step.by.port for step in steps if isinstance(step.by, Call)}
    made = ports(settings, worker, wanted) if wanted else {}
    stage.run(settings, asked.what, asked.slot, worker, PIPELINE, made)


def _calls(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from streams.engine.calls import worker as runner
    from streams.engine.shapes import Call, calls
    from streams.ports.wiring import ports
    from streams.topology import PIPELINE

    steps = calls(PIPELINE)
    wanted = {step.by.port for step in steps if isinstance(step.by, Call)}
    runner.run(settings, asked.slot, worker, steps, ports(settings, worker, wanted))


def _sink(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from sinks.spec import sink_spec
    from streams.engine.sinks.worker import SinkWorker, Stored, sink_of
    from streams.topology import VALIDATED

    sink = sink_of(settings, asked.what, worker)
    stored = Stored(sink_spec(asked.what).events, VALIDATED)
    SinkWorker(settings, sink, stored, asked.slot, worker).run()


def _live(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from streams.live.views import run

    run(settings, worker)


def _gateway(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from streams.gateway import run

    run(settings, worker)


def _balancing(settings: Settings, asked: argparse.Namespace, worker: Worker) -> None:
    from streams.operations.balance_worker import run

    run(settings, worker)


KINDS: dict[str, tuple[Callable[[Settings, argparse.Namespace, Worker], None], str]] = {
    "stage": (_stage, "key"),
    "calls": (_calls, ""),
    "sink": (_sink, "sink"),
    "live": (_live, ""),
    "gateway": (_gateway, ""),
    "balancing": (_balancing, ""),
}
"""How each kind of worker is run, and the name of the argument that says which one."""
WITH_DEFINITIONS = ("stage", "calls", "gateway", "sink")
"""The kinds that follow the definitions."""
WITH_BODIES = ("stage", "calls", "gateway")
"""The kinds that read events with their large bodies."""


def arguments(argv: list[str]) -> argparse.Namespace:
    """What to run. `--port` is the port of the health pages; 0 picks a free one."""
    parser = argparse.ArgumentParser(
        prog="python -m streams.worker", description=(__doc__ or "").splitlines()[0]
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, (_, what) in KINDS.items():
        one = kinds.add_parser(kind)
        if what:
            one.add_argument("what", metavar=what)
        one.add_argument(
            "--slot", type=int, default=0, help="a number from 0 that no other live process has"
        )
        one.add_argument("--port", type=int, default=None, help="of /healthz, /readyz and /metrics")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    asked = arguments(sys.argv[1:] if argv is None else argv)
    start_logging()
    which = [asked.what] if "what" in asked else []
    configured = settings()
    worker = Worker(
        configured,
        "-".join((asked.kind, *which, str(asked.slot))),
        configured.metrics_port if asked.port is None else asked.port,
        inputs=Inputs(definitions=asked.kind in WITH_DEFINITIONS, bodies=asked.kind in WITH_BODIES),
    )
    run, _ = KINDS[asked.kind]
    execute(worker, lambda: run(configured, asked, worker))


if __name__ == "__main__":
    main()
