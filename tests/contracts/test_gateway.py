"""The gateway on Kafka equals the gateway in memory: keys, OpenAI's client, resumed streams."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import httpx
import openai
import pytest

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def keyed(stack, world):
    """A key of tenant acme, made by the command."""
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
            "request",
            "--scope",
            "read",
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | stack.environment(),
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def http(stack, keyed):
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.gateway_port}",
        timeout=30,
        headers={"authorization": f"Bearer {keyed['key']}"},
    ) as made:
        for _ in range(100):  # the gateway follows the definitions
            if made.get("/v1/models").status_code == 200:
                break
        yield made


def test_a_run_is_asked_for_once_followed_and_looked_up(http):
    asked = {"agent": "asks-good", "text": "hi"}
    first, again = (
        http.post(
            "/v1/requests", json=asked, headers={"Idempotency-Key": "k1", "Prefer": "wait=20"}
        )
        for _ in range(2)
    )
    assert (
        first.json()["status"] == again.json()["status"] == "completed"
        and first.json()["answer"] == "hello"
    )
    assert (
        first.json()["id"] == again.json()["id"] and again.headers["idempotency-replayed"] == "true"
    )
    events = http.get(f"/v1/runs/{first.json()['id']}/events").text.split("\n\n")
    assert (
        events[0].splitlines()[1] == "event: RequestAdmitted" and "event: RunFinished" in events[-2]
    )
    rest = http.get(
        f"/v1/runs/{first.json()['id']}/events",
        headers={"Last-Event-ID": events[0].splitlines()[0][4:]},
    )
    assert rest.text.split("\n\n") == events[1:]


def test_the_openai_client_needs_another_base_url_and_nothing_else(stack, http, keyed):
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{stack.gateway_port}/v1", api_key=keyed["key"]
    ) as client:
        assert (
            client.chat.completions.create(model="asks-good", messages=HI)
            .choices[0]
            .message.content
            == "hello"
        )
        chunks = list(client.chat.completions.create(model="asks-good", messages=HI, stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="nobody", messages=HI)


def test_a_key_that_may_not_judge_may_not_and_no_run_of_others_is_seen(http):
    assert http.post("/v1/feedback", json={"run": str(UUID(int=1)), "score": 1}).status_code == 403
    assert http.get(f"/v1/runs/{UUID(int=1)}").status_code == 404
