"""The handbook's code for producers and consumers runs as it stands, without any of Weir's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]


def test_a_request_is_produced_and_its_outcome_consumed(stack, world):
    produce, consume = re.findall(
        r"```python\n(.*?)```", (ROOT / "infra/handbook/requests.md").read_text(), re.S
    )[:2]
    code = (
        (produce + consume)
        .replace("127.0.0.1:9092", stack.bootstrap())
        .replace("http://127.0.0.1:8081/apis/ccompat/v7", stack.registry())
    )
    code = (
        code.replace(
            '"tenant": "fernweh", "agent": "support"', '"tenant": "acme", "agent": "asks-good"'
        ).replace(
            "    print(", "    if str(run['run']) != event['id']:\n        continue\n    print("
        )
        + "    break\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("WEIR_")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[1:3] == ["completed", "hello"]
