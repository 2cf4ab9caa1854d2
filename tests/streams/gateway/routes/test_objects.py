"""Does a caller get what was too large for an event, its own tenant's and no other's?"""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from schemas.wire.large_bodies import body_of

LONG = "order A-1001, late\n" * 50_000


@pytest.fixture
def body(app):
    made, data = body_of("fernweh", LONG)
    app.state.gateway.objects.put(made.key, data)
    return made


def test_a_body_comes_as_it_was(http, body):
    answer = http(lambda client: client.get(f"/v1/objects/{body.sha256}"))
    assert (answer.status_code, answer.text) == (200, LONG)


@pytest.mark.parametrize(
    "tenant, sha256, status, code",
    [
        ("fernweh-outlet", None, 404, "no_object"),
        ("fernweh", "0" * 64, 404, "no_object"),
        ("fernweh", "..%2f..%2fetc", 404, None),
        ("fernweh", "A" * 64, 422, None),
    ],
)
def test_nobody_gets_what_is_not_theirs(http, body, tenant, sha256, status, code):
    answer = http(
        lambda client: client.get(
            f"/v1/objects/{sha256 or body.sha256}", headers={"weir-tenant": tenant}
        )
    )
    assert answer.status_code == status and code in (None, answer.json()["code"])


def test_an_answer_of_which_the_table_has_the_beginning_is_whole(http, body, tables):
    run = uuid4()
    row = dict.fromkeys(("detail", "reason", "model"), "") | {
        "at": datetime.now(UTC),
        "tenant": "fernweh",
        "session": "s",
        "run": run,
        "agent": "support",
        "agent_version": 1,
        "outcome": "completed",
        "answer": LONG[:1_000],
        "bodies": f'{{"answer": "{body.key}"}}',
        "started_at": datetime.now(UTC),
    }
    row |= dict.fromkeys(
        (
            "model_calls",
            "tool_calls",
            "input_tokens",
            "cached_input_tokens",
            "cache_write_tokens",
            "output_tokens",
            "reasoning_tokens",
            "cost_usd",
            "total_cost_usd",
            "wait_ms",
        ),
        0,
    )
    tables.found = [row]
    assert http(lambda client: client.get(f"/v1/runs/{run}")).json()["answer"] == LONG
    tables.found = [row | {"bodies": row["bodies"].replace(body.sha256, "0" * 64)}]
    assert http(lambda client: client.get(f"/v1/runs/{run}")).json()["answer"] == LONG[:1_000]
