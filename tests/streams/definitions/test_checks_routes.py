"""Mistakes in model routes are reported with file, line and what to do."""

import pytest

from streams.definitions.folder import DefinitionsError, load
from tests.streams.definitions.test_folder import folder_of

CHEAP = "provider: openai\nbase_url: http://x/v1\nupstream: cheap\ntools: false\n"
BY_SHARE = (
    "candidates:\n  - {model: small, share: 9, tenants: [acme]}\n  - {model: cheap}\nby: "
    "share\nfallback: [cheap]\n"
)
CASCADE = "cascade: [cheap, small]\ncheck: {min_chars: 20}\n"
ASKS = "prompt: x\nmodel: main\ntools: [look]\n"


@pytest.mark.parametrize(
    "route",
    [
        BY_SHARE,
        CASCADE,
        "candidates:\n  - model: small\nhedge: {after_ms: 800, budget: 0.1}\nby: latency\n",
    ],
)
def test_a_route_is_a_definition_that_an_agent_names(tmp_path, route):
    company = load(
        folder_of(
            tmp_path,
            **{"models__cheap.yaml": CHEAP, "routes__main.yaml": route, "agents__help.yaml": ASKS},
        )
    )
    assert ("route", "main") in {(d.kind, d.name) for d in company.definitions}


@pytest.mark.parametrize(
    ("route", "line", "words"),
    [
        (
            "candidates:\n  - model: small\n  - model: big\n",
            3,
            "there is no model 'big' (there are: cheap, small)",
        ),
        ("candidates:\n  - model: small\n    tenants: [other]\n", 3, "there is no tenant 'other'"),
        ("cascade: [cheap, big]\ncheck: {min_chars: 1}\n", 1, "there is no model 'big'"),
        (
            "candidates:\n  - model: small\nfallback:\n  - cheap\n  - big\n",
            5,
            "there is no model 'big'",
        ),
        ("fallback: [small]\n", 1, "either `candidates` or a `cascade`"),
        ("cascade: [cheap]\ncheck: {min_chars: 1}\n", 1, "two models or more"),
        ("cascade: [cheap, small]\n", 1, "and a `check`"),
        ("cascade: [cheap, small, cheap]\ncheck: {min_chars: 1}\n", 1, "named twice"),
        ("candidates: [{model: small}]\ncheck: {min_chars: 1}\n", 1, "belongs to a `cascade`"),
        (
            "cascade: [cheap, small]\ncheck: {json_schema: {type: objekt}}\n",
            2,
            "json_schema cannot be used",
        ),
        (
            "candidates: [{model: small}]\nneeds: [vision]\n",
            2,
            "none of its models has `vision: true`",
        ),
        (
            "candidates:\n  - model: cheap\n    max_cost_usd: 1\n",
            3,
            "nobody knows the price of 'cheap'",
        ),
        ("candidates: [{model: small, share: 0}]\n", 1, "candidates.0.share"),
        ("candidates: [{model: small}]\nby: weather\n", 2, "by"),
        ("candidates: [{model: small}]\nhedge: {after_ms: 5, budget: 2}\n", 2, "hedge.budget"),
        ("name: small\ncandidates: [{model: cheap}]\n", 1, "there is a model 'small' too"),
        (
            "candidates: [{model: cheap}]\n",
            2,
            "the agent needs a model with `tools: true`, and none of cheap has it",
        ),
    ],
)
def test_a_mistake_in_a_route_is_told_with_its_line(tmp_path, route, line, words):
    asks = ASKS if "name:" not in route else ASKS.replace("main", "small")
    folder = folder_of(
        tmp_path,
        **{"models__cheap.yaml": CHEAP, "routes__main.yaml": route, "agents__help.yaml": asks},
    )
    with pytest.raises(DefinitionsError) as said:
        load(folder)
    assert any(
        f"line {line}: " in sentence and words in sentence
        for sentence in str(said.value).splitlines()
    ), said.value
