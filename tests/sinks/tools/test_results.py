"""Whatever the world does with a call, is what is told of it true, and is nothing done twice that
must not be?
"""

import asyncio
from dataclasses import replace

import aiohttp
import httpx
from aiohttp.client_reqrep import ConnectionKey
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.definitions.tools import HttpTarget, Reconcile
from schemas.ports import Failure, ToolAnswer, ToolQuestion, Uncertain
from sinks.runtime import Runtime
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import RETRIES, ToolRunner

PAY = ToolQuestion("pay", HttpTarget(url="http://bank/pay"), "{}", 60_000, 1_000, "once", "key-1")
CALLS = st.lists(
    st.sampled_from(
        ["done", "done_lost", "lost", "refused", "busy", "failed", "broken", "bad_gateway"]
    ),
    max_size=6,
)
ASKED = st.lists(st.sampled_from(["truth", "truth", "lost", "later", "forbidden"]), max_size=6)


class Bank:
    """Does what a list says, then what it should. `done` counts what was carried out, `sent` what
    was asked.
    """

    def __init__(self, calls, asked):
        self.calls = list(calls)
        self.asked = list(asked)
        self.done = 0
        self.sent = 0

    def __call__(self, request):
        return self._pay(request) if request.method == "POST" else self._tell(request)

    def _pay(self, request):
        self.sent += 1
        act = self.calls.pop(0) if self.calls else "done"
        if act in ("done", "done_lost", "bad_gateway"):
            self.done += 1
        if act in ("done_lost", "lost"):
            raise httpx.ReadError("the line went dead", request=request)
        if act == "refused":
            raise httpx.ReadError("never connected", request=request) from failure()
        return httpx.Response(
            {"done": 200, "busy": 429, "failed": 400, "broken": 500, "bad_gateway": 502}[act],
            text="paid",
            headers={"retry-after": "0"},
        )

    def _tell(self, request):
        act = self.asked.pop(0) if self.asked else "truth"
        if act == "lost":
            raise httpx.ReadError("the line went dead", request=request)
        if act == "truth":
            return httpx.Response(200, text="paid") if self.done else httpx.Response(404)
        return httpx.Response({"later": 202, "forbidden": 403}[act])


def failure():
    """As the transport says that nobody listens: nothing was sent."""
    return aiohttp.ClientConnectorError(
        ConnectionKey("bank", 80, False, None, None, None, None), OSError("refused")
    )


def told(bank, question):
    async def run():
        async def sleep(_):
            return None

        async with httpx.AsyncClient(transport=httpx.MockTransport(bank)) as http:
            return await ToolRunner(ToolContext(http, http), str, runtime=Runtime(sleep=sleep))(
                question
            )

    return asyncio.run(run())


@given(CALLS)
@settings(max_examples=30, deadline=None)
def test_a_once_tool_is_sent_once_and_told_as_it_was(calls):
    bank = Bank(calls, [])
    said = told(bank, PAY)
    assert bank.sent == 1
    assert isinstance(said, {0: Failure | Uncertain, 1: ToolAnswer | Uncertain}[bank.done])


@given(CALLS, ASKED, st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_reconcilable_tool_is_done_once_at_most_and_told_as_it_was(calls, asked, begun, happened):
    bank = Bank(calls, asked)
    bank.done = int(begun and happened)
    second = Reconcile(url="http://bank/payments/{key}")
    said = told(bank, replace(PAY, effect="reconcilable", reconcile=second, begun=begun))
    assert bank.done <= 1 and bank.sent <= RETRIES + 1
    assert isinstance(said, {0: Failure | Uncertain, 1: ToolAnswer | Uncertain}[bank.done])
    if "forbidden" not in asked and len(asked) < 4:
        assert not isinstance(said, Uncertain), "the truth was there to be asked for"


@given(CALLS, st.sampled_from(["pure", "idempotent"]))
@settings(max_examples=30, deadline=None)
def test_what_may_be_repeated_is_never_uncertain(calls, effect):
    bank = Bank(calls, [])
    said = told(bank, replace(PAY, effect=effect))
    assert isinstance(said, ToolAnswer | Failure) and bank.sent <= RETRIES + 1
    assert isinstance(said, ToolAnswer) <= (bank.done > 0)
