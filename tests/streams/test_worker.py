"""The entry of workers takes its arguments, wires each kind, and knows only the sinks there are."""

import subprocess
import sys

import pytest

from schemas.events.agent.runs import AgentRequested
from schemas.events.operations import DeadLettered
from schemas.events.tracing import SpanEnded
from streams.app import PRELOAD
from streams.config import Settings
from streams.engine.sinks.worker import sink_of
from streams.topology import SINKS, VALIDATED
from streams.worker import KINDS, arguments


@pytest.mark.parametrize(
    "argv, kind, what, slot, port",
    [
        (["stage", "session", "--slot", "2", "--port", "9401"], "stage", "session", 2, 9401),
        (["calls", "--slot", "1"], "calls", None, 1, None),
        (["sink", "clickhouse"], "sink", "clickhouse", 0, None),
        (["live", "--port", "0"], "live", None, 0, 0),
    ],
)
def test_what_a_worker_is_told(argv, kind, what, slot, port):
    asked = arguments(argv)
    assert (asked.kind, getattr(asked, "what", None), asked.slot, asked.port) == (
        kind,
        what,
        slot,
        port,
    )


@pytest.mark.parametrize("name", SINKS)
def test_every_sink_of_the_topology_is_made_by_its_name(name):
    assert sink_of(Settings(otlp_endpoint="http://127.0.0.1:1"), name).name == name


def test_a_sink_that_there_is_not_is_an_error_and_no_other_sink():
    with pytest.raises(ValueError, match="no sink 'clickhaus': it is one of archive, clickhouse, "):
        sink_of(Settings(), "clickhaus")


def test_what_services_write_is_not_taken_for_validated():
    assert {SpanEnded, DeadLettered} <= VALIDATED and AgentRequested not in VALIDATED


def test_every_kind_of_worker_has_a_parser():
    for kind, (_, what) in KINDS.items():
        assert arguments([kind, *(["x"] if what else [])]).kind == kind


@pytest.mark.skipif(sys.platform != "linux", reason="looks at its threads through /proc")
def test_what_is_loaded_before_a_fork_starts_no_thread():
    counting = (
        "import importlib, os, sys; [importlib.import_module(name) for name in sys.argv[1:]]; "
        "print(len(os.listdir('/proc/self/task')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", counting, *PRELOAD], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1"]
