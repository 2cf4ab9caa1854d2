"""Exactly once while processes are killed: a short chaos run on a stack of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.lab.chaos.run import MUST_BE_NOTHING

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[2]


def test_nothing_is_lost_doubled_or_out_of_order_under_kills(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "streams.cli.main",
            "chaos",
            "--kills",
            "3",
            "--rate",
            "6",
            "--seed",
            "3",
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        env=os.environ | {"WEIR_HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert sum(found["kills"].values()) == 3 and found["requests"] > 20
    assert found["outcomes"]["RunFinished"] == found["requests"]
    assert not any(found[name] for name in MUST_BE_NOTHING)
