"""The scripted and the recorded services follow their files and refuse the rest."""

import json

import pytest
from starlette.testclient import TestClient

from infra.embedded.scripted import recorded, server

SCRIPT = {
    "rules": [
        {
            "when": {"last": "user", "matches": r"order (?P<order>A-\d+)"},
            "call": {"name": "lookup", "arguments": {"order": "{order}", "deep": ["{0}", 3]}},
        },
        {
            "when": {"last": "tool", "tool": "lookup", "matches": "status"},
            "say": "It is {result.status}, {result.gone}.",
            "usage": {"input_tokens": 120, "output_tokens": "auto"},
        },
        {"when": {"last": "user", "matches": "both"}, "calls": [{"name": "a"}, {"name": "b"}]},
    ],
    "tools": {
        "lookup": [
            {"when": {"order": "A-1"}, "returns": {"status": "on its way", "order": "{order}"}},
            {"returns": {"error": "unknown"}, "status": 404},
        ]
    },
}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"n": 1}'}}
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "name": "look", "content": "7"},
]


def user(text):
    return {"model": "x", "messages": [{"role": "user", "content": text}]}


@pytest.fixture
def script():
    server.check(SCRIPT)
    return TestClient(server.application(SCRIPT))


def test_a_rule_calls_a_tool(script):
    said = script.post("/v1/chat/completions", json=user("Where is order A-1?")).json()
    [call] = said["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "lookup"
    assert json.loads(call["function"]["arguments"]) == {"order": "A-1", "deep": ["A-1", 3]}
    assert (said["model"], said["system_fingerprint"]) == ("scripted-1", "scripted")
    assert said == script.post("/v1/chat/completions", json=user("Where is order A-1?")).json()


def test_a_rule_says_what_a_tool_returned(script):
    asked = user("order A-1")
    asked["messages"] += [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c9", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c9", "content": '{"status": "late"}'},
    ]
    said = script.post("/v1/chat/completions", json=asked).json()
    assert said["choices"][0]["message"]["content"] == "It is late, {result.gone}."
    assert said["usage"]["prompt_tokens"] == 120 and said["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("asked", ["order A-1", "both", "no rule"])
def test_a_stream_adds_up_to_the_same_answer(script, asked):
    whole = script.post("/v1/chat/completions", json=user(asked)).json()
    came = script.post("/v1/chat/completions", json=user(asked) | {"stream": True})
    assert came.headers["content-type"].startswith("text/event-stream") and came.text.endswith(
        "data: [DONE]\n\n"
    )
    chunks = [json.loads(line[6:]) for line in came.text.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    said = whole["choices"][0]["message"]
    assert "".join(delta.get("content", "") for delta in deltas) == (said["content"] or "")
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [{k: v for k, v in call.items() if k != "index"} for call in calls] == said.get(
        "tool_calls", []
    )
    assert (chunks[-1]["usage"], chunks[-2]["choices"][0]["finish_reason"]) == (
        whole["usage"],
        whole["choices"][0]["finish_reason"],
    )


def test_two_calls_have_two_ids(script):
    calls = script.post("/v1/chat/completions", json=user("both")).json()["choices"][0]["message"][
        "tool_calls"
    ]
    assert [call["function"]["name"] for call in calls] == ["a", "b"] and calls[0]["id"] != calls[
        1
    ]["id"]


def test_what_no_rule_fits_is_said_to_be_so(script):
    assert (
        script.post("/v1/chat/completions", json=user("?")).json()["choices"][0]["message"][
            "content"
        ]
        == server.NO_RULE
    )


@pytest.mark.parametrize(
    "name, arguments, status, body",
    [
        ("lookup", {"order": "A-1"}, 200, {"status": "on its way", "order": "A-1"}),
        ("lookup", {"order": "A-9"}, 404, {"error": "unknown"}),
    ],
)
def test_a_tool_returns_by_its_arguments(script, name, arguments, status, body):
    answer = script.post(f"/tools/{name}", json=arguments)
    assert (answer.status_code, answer.json()) == (status, body)


def test_what_the_script_does_not_know_is_refused(script):
    assert script.post("/tools/other", json={}).status_code == 404
    assert script.post("/tools/lookup", content=b"{no").status_code == 400
    assert script.post("/v1/chat/completions", json={"messages": []}).status_code == 400


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"rulez": []},
        {"rules": [{"say": "x", "wen": {}}]},
        {"rules": [{"when": {}}]},
        {"tools": {"t": [{"when": {}}]}},
    ],
)
def test_a_script_that_would_be_ignored_in_part_is_refused(wrong):
    with pytest.raises(ValueError):
        server.check(wrong)


@pytest.fixture
def player(tmp_path):
    file = tmp_path / "talks.jsonl"
    file.write_text(json.dumps({"messages": TALK}) + "\n")
    return TestClient(recorded.application(recorded.read(file)))


def model(player, messages, session="s-0"):
    return player.post(
        "/v1/chat/completions", json={"messages": messages}, headers={"weir-session": session}
    )


def test_the_recorded_is_played(player):
    said = model(player, TALK[:2])
    assert said.json()["choices"][0]["message"]["tool_calls"] == [CALL]
    result = player.post(
        "/tools/look", content='{"n": 1}', headers={"weir-session": "s-0", "weir-call": "c1"}
    )
    assert (result.text, result.headers["weir-ends"]) == ("7", "true")
    assert player.get("/stats").json() == {
        "model_asked": 1,
        "model_answered": 1,
        "tool_asked": 1,
        "tool_answered": 1,
        "mismatched": 0,
        "mismatches": [],
    }


@pytest.mark.parametrize(
    "messages",
    [
        [TALK[0], {"role": "user", "content": "Ho"}],
        [TALK[1], TALK[0]],
        TALK[:1],
        TALK,
        [*TALK[:2], *TALK[:2]],
    ],
)
def test_another_question_is_refused_with_the_difference(player, messages):
    answer = model(player, messages)
    assert answer.status_code == 409 and "s-0" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "call, name, arguments",
    [("c2", "look", '{"n": 1}'), ("c1", "other", '{"n": 1}'), ("c1", "look", '{"n":1}')],
)
def test_another_call_is_refused(player, call, name, arguments):
    model(player, TALK[:2])
    answer = player.post(
        f"/tools/{name}", content=arguments, headers={"weir-session": "s-0", "weir-call": call}
    )
    assert answer.status_code == 409


def test_a_call_before_its_turn_is_refused(player):
    answer = player.post(
        "/tools/look", content='{"n": 1}', headers={"weir-session": "s-0", "weir-call": "c1"}
    )
    assert answer.status_code == 409


def test_tokens_are_as_they_were_asked():
    said = (
        TestClient(recorded.application([]))
        .post("/v1/chat/completions", json=user("tokens 700 31"))
        .json()
    )
    assert (said["usage"]["prompt_tokens"], said["usage"]["completion_tokens"]) == (700, 31)
