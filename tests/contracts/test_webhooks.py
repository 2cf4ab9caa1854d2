"""A receiver gets signed webhooks, after failures too; undelivered ones can be sent again."""

import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from streams.engine.client import request
from tests.contracts.conftest import WEBHOOK_SECRET
from tests.support.waiting import until

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]
WEBHOOK = """
url: {url}
secret: env:TESTS_WEBHOOK
events: [{event}]
tenants: [{tenant}]
retries_s: [0.2, 0.2]
timeout_ms: 2000
"""


@dataclass
class Receiver:
    """A service outside: what it was told, by path, and the statuses it answers with, the last one
    from then on.
    """

    url: str = ""
    answers: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [204]))
    heard: dict[str, list[tuple[str, bytes]]] = field(default_factory=lambda: defaultdict(list))

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        Verifier(WEBHOOK_SECRET).verify(
            body, headers
        )  # raises where the signature, or the time, is wrong
        self.heard[path].append((headers["webhook-id"], body))
        answers = self.answers[path]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(scope="module")
def receiver():
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(made.take(self.path, headers, body))
            self.end_headers()

        def log_message(self, *_):
            """Nothing: the test's own output is enough."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@pytest.fixture(scope="module")
def weir(stack):
    """Runs a command; its last line as JSON where `--json` is among the arguments."""

    def run(*arguments: str):
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli.main", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | stack.environment(),
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return (
            json.loads(done.stdout.splitlines()[-1])
            if "--json" in arguments
            else done.stdout + done.stderr
        )

    return run


@pytest.fixture(scope="module")
def applied(world, receiver, weir, tmp_path_factory):
    """Two webhooks: what finishes goes to `crm`, what is refused to `audit`."""
    receiver.answers |= {"/crm": [500, 503, 204], "/audit": [500]}
    folder = tmp_path_factory.mktemp("company")
    (folder / "webhooks").mkdir()
    for name, event, tenant in (
        ("crm", "run.finished", "acme"),
        ("audit", "request.refused", "tight"),
    ):
        text = WEBHOOK.format(url=f"{receiver.url}/{name}", event=event, tenant=tenant)
        (folder / "webhooks" / f"{name}.yaml").write_text(text)
    weir("apply", str(folder))


def counted(weir, name: str) -> dict:
    return next(one for one in weir("webhooks", "list", "--json") if one["webhook"] == name)


def test_a_receiver_that_fails_twice_gets_the_same_signed_message(client, weir, receiver, applied):
    outcome = client.ask(request("acme", "asks-good", "hi"))
    until(
        lambda: len(receiver.heard["/crm"]) >= 3,
        30,
        lambda: f"heard {len(receiver.heard['/crm'])} times",
    )
    first, *others = receiver.heard["/crm"]
    assert others == [first, first], "an attempt differs from the first"
    said = json.loads(first[1])
    assert (said["type"], said["data"]["run"], said["data"]["answer"]) == (
        "run.finished",
        str(outcome.run),
        "hello",
    )
    until(
        lambda: counted(weir, "crm")["delivered"] == 1,
        30,
        lambda: f"counted {counted(weir, 'crm')}",
    )
    assert {name: counted(weir, "crm")[name] for name in ("failed_attempts", "dropped")} == {
        "failed_attempts": 2,
        "dropped": 0,
    }
    assert len(receiver.heard["/crm"]) == 3


def test_what_is_never_taken_is_kept_and_sent_again_by_hand(client, weir, receiver, applied):
    refused = client.ask(request("tight", "nobody", "hi"))
    until(
        lambda: weir("webhooks", "dropped", "--json"),
        30,
        lambda: f"heard {len(receiver.heard['/audit'])} times",
    )
    [letter] = weir("webhooks", "dropped", "--json")
    assert (letter["webhook"], letter["attempt"], letter["reason"]) == ("audit", 3, "http_500")
    assert json.loads(letter["body"])["data"]["reason"] == refused.reason
    receiver.answers["/audit"] = [200]
    assert "1 messages are sent once more" in weir("webhooks", "again", letter["message"])
    until(
        lambda: counted(weir, "audit")["delivered"] == 1,
        30,
        lambda: f"counted {counted(weir, 'audit')}",
    )
    assert len(receiver.heard["/audit"]) == 4 and len(set(receiver.heard["/audit"])) == 1
    assert weir("webhooks", "dropped", "--json") == []
