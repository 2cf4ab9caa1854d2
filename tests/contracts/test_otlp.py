"""An OTLP export lands whole and once, though it comes twice, and counts as usage."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from streams.lab.bench_stack.sample_spans import exports
from streams.operations.connections import rows_of
from tests.support.waiting import until

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
SPANS = 2_000
CALLS = 1_200
LANDED = """SELECT
(SELECT count() FROM spans WHERE source = 'otel' OR source = 'plain') AS all_spans,
       (SELECT uniqExact(id) FROM spans WHERE source = 'otel' OR source = 'plain') AS ids,
       (SELECT count() FROM token_usage WHERE source = 'otel') AS calls,
       (SELECT countIf(cost_usd IS NULL) FROM token_usage WHERE source = 'otel') AS unpriced,
       (SELECT sum(input_tokens) FROM spans WHERE source = 'otel') AS of_spans,
       (SELECT sum(input_tokens) FROM token_usage WHERE source = 'otel') AS of_calls"""


@pytest.fixture(scope="module")
def headers(stack, world):
    """Of an exporter with a key of its own, which can do nothing else."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "streams.cli.main",
            "keys",
            "add",
            "--tenant",
            "acme",
            "--scope",
            "telemetry",
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | stack.environment(),
    )
    return {
        "authorization": f"Bearer {json.loads(done.stdout.splitlines()[-1])['key']}",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
    }


def test_what_comes_twice_lands_once(stack, headers):
    bodies = [gzip.compress(export.SerializeToString()) for export in exports(SPANS)]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.gateway_port}", timeout=60, headers=headers
    ) as http:
        until(
            lambda: http.post("/v1/traces", content=gzip.compress(b"")).status_code == 200,
            20,
            lambda: "the gateway does not know the key",
        )
        for body in (*bodies, *bodies):
            assert (
                answer := http.post("/v1/traces", content=body)
            ).status_code == 200 and not answer.content
    until(
        lambda: landed(stack)["all_spans"] >= SPANS and landed(stack)["calls"] >= CALLS,
        60,
        lambda: f"landed: {landed(stack)}",
    )
    found = landed(stack)
    assert (found["all_spans"], found["ids"], found["calls"], found["unpriced"]) == (
        SPANS,
        SPANS,
        CALLS,
        0,
    )
    assert found["of_spans"] == found["of_calls"] > 0


def landed(stack) -> dict:
    return rows_of(stack, LANDED, {})[0]
