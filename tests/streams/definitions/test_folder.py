"""Folders of definitions: reading, and mistakes with their lines."""

import os
from pathlib import Path

import pytest

from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import RunFinished
from schemas.events.values import Tokens
from schemas.ports import (
    ChatAnswer,
    ChatQuestion,
)
from streams.definitions.folder import DefinitionsError, load
from streams.engine.client import request
from streams.engine.in_memory import Local
from streams.topology import PIPELINE
from tests.support.processors import NOON

SAMPLE = Path(__file__).parents[3] / "infra" / "company"
GOOD = {
    "tenants/acme.yaml": "description: us\n",
    "models/small.yaml": "provider: openai\nbase_url: "
    "http://127.0.0.1:${services_port}/v1\nupstream: gpt-4o-mini\n",
    "tools/look.yaml": "url: http://tools/look\neffect: pure\nparameters:\n  type: object\n",
    "policies/guard.yaml": "rules:\n  - {find: card, action: redact}\n",
    "agents/help.yaml": "prompt: Help.\nmodel: small\ntools: [look]\npolicy: guard\ntenants: "
    "[acme]\n",
    "documents/faq.md": "# Questions\n\nAsk.\n",
    "documents/acme/own.md": "No heading.\n",
}


def folder_of(tmp_path: Path, **changed: str | None) -> Path:
    for name, text in (
        GOOD | {name.replace("__", "/"): text for name, text in changed.items()}
    ).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    return tmp_path


def test_a_folder_is_a_company(tmp_path):
    company = load(folder_of(tmp_path), services_port=8099)
    assert sorted((d.kind, d.name) for d in company.definitions) == [
        ("agent", "help"),
        ("model", "small"),
        ("policy", "guard"),
        ("tenant", "acme"),
        ("tool", "look"),
    ]
    assert (
        Definitions.of(*company.definitions).model("small").base_url == "http://127.0.0.1:8099/v1"
    )
    assert [(d.tenant, d.document, d.title) for d in company.documents] == [
        ("acme", "acme/own.md", "own"),
        ("acme", "faq.md", "Questions"),
    ]


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("models/gpt-4o.yaml", GOOD["models/small.yaml"] + "direct: true\n"),
        ("routes/gpt-4o.yaml", "candidates: [{model: small}]\ndirect: true\n"),
    ],
)
def test_a_model_or_route_that_is_direct_is_an_agent_of_its_name(tmp_path, file, more):
    given = Definitions.of(*load(folder_of(tmp_path, **{file: more})).definitions)
    agent = given.agent("gpt-4o")
    assert (agent.model, agent.prompt, agent.tools, agent.pattern) == ("gpt-4o", "", (), "single")
    asked = []

    def chat(question: ChatQuestion) -> ChatAnswer:
        asked.append(question.messages)
        return ChatAnswer(
            "small",
            "openai",
            "gpt-4o-mini",
            "hello",
            (),
            "stop",
            Tokens(input_tokens=1),
            NOON,
            NOON,
        )

    local = Local(PIPELINE, given, {"chat": chat, "tool": None, "search": None})
    run = next(
        event
        for event in local.send(request("acme", "gpt-4o", "hi"))
        if isinstance(event, RunFinished)
    )
    local.close()
    assert run.answer == "hello" and [(m.role, m.content) for m in asked[0]] == [("user", "hi")]
    with pytest.raises(DefinitionsError, match="agent 'gpt-4o' is defined in"):
        load(folder_of(tmp_path, **{"agents/gpt-4o.yaml": GOOD["agents/help.yaml"]}))


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [
        (
            "agents/help.yaml",
            "prompt: x\nmodel: small\ntolos: [look]\n",
            3,
            "unknown key 'tolos': correct or remove it",
        ),
        (
            "agents/help.yaml",
            "prompt: x\nmodel: big\n",
            2,
            "there is no model 'big' (there are: small): correct the name",
        ),
        (
            "agents/help.yaml",
            "prompt: x\nmodel: small\ntools:\n  - seek\n",
            3,
            "there is no tool 'seek'",
        ),
        (
            "agents/help.yaml",
            "prompt: x\nmodel: small\npolicy: none\n",
            3,
            "there is no policy 'none'",
        ),
        ("agents/help.yaml", "prompt: x\nmodel: small\nlimits:\n  steps: 0\n", 4, "limits.steps"),
        ("agents/help.yaml", "model: small\n", 1, "'prompt' is missing: add it"),
        (
            "agents/help.yaml",
            "prompt: x\nmodel: small\nmodel: small\n",
            3,
            "'model' is there twice: remove one",
        ),
        ("agents/help.yaml", "prompt: [x\nmodel: small\n", 2, "no valid YAML"),
        ("agents/help.yaml", "- x\n", 1, "a definition is a mapping"),
        ("agents/help.yaml", "name: a/b\nprompt: x\nmodel: small\n", 1, "name"),
        (
            "tenants/acme.yaml",
            "contract:\n  discount: 0.1\n  currency: EUR\n",
            3,
            "there is no currency 'EUR': add currencies/EUR",
        ),
        (
            "tenants/acme.yaml",
            "budget_usd: {hard: true}\n",
            1,
            "say how much: give `month` or `day`",
        ),
        (
            "tenants/acme.yaml",
            "contract:\n  models:\n    small: {input: -1, output: 2}\n",
            3,
            "contract.models.small.input",
        ),
        ("currencies/EUR.yaml", "rates:\n  - {since: 2026-01-01, usd: 0}\n", 2, "rates.0.usd"),
        (
            "models/small.yaml",
            "provider: p\nbase_url: http://m\nupstream: u\nprice: {input: 1}\n",
            4,
            "'price.output' is missing",
        ),
        (
            "tools/look.yaml",
            "url: http://t\nparameters:\n  type: objekt\n",
            2,
            "no JSON Schema that can be used",
        ),
        (
            "tools/look.yaml",
            "url: http://t\nparameters: {$ref: 'http://x/y'}\n",
            2,
            "nothing is fetched from elsewhere",
        ),
        ("tools/look.yaml", "url: ftp://t\n", 1, "is no http address"),
        (
            "policies/guard.yaml",
            "rules:\n  - {find: card, action: redact}\n  - {find: cards, action: redact}\n",
            3,
            "rules.1.find",
        ),
        ("policies/more.yaml", "name: guard\nrules: []\n", 1, "is defined in"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_to_do(tmp_path, name, text, line, words):
    with pytest.raises(DefinitionsError) as bad:
        load(folder_of(tmp_path, **{name.replace("/", "__"): text}))
    assert f"{tmp_path / name}, line {line}: " in str(bad.value)
    assert words in str(bad.value)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "webhooks/crm.yaml",
            "url: https://crm/hook\nsecret: whsec_tR7vK2\nevents: [run.finished]\n",
            2,
        ),
        (
            "models/small.yaml",
            "provider: p\nbase_url: http://m\nupstream: u\napi_key: sk-tR7vK2\n",
            4,
        ),
        ("tools/look.yaml", "url: http://t\nheaders: 'authorization: tR7vK2'\n", 2),
        ("tools/look.yaml", "url: http://t\nheaders: {authorization: tR7vK2}\n", 2),
        ("tools/look.yaml", "via: mcp\nserver: {url: http://s, env: {X: [tR7vK2]}}\n", 2),
    ],
)
def test_a_secret_that_was_written_by_mistake_is_never_shown(tmp_path, name, text, line):
    with pytest.raises(DefinitionsError) as bad:
        load(folder_of(tmp_path, **{name.replace("/", "__"): text}))
    assert f"{tmp_path / name}, line {line}: " in str(bad.value) and "write env:NAME" in str(
        bad.value
    )
    assert "tR7vK2" not in str(bad.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    with pytest.raises(DefinitionsError) as bad:
        load(
            folder_of(
                tmp_path,
                agents__help="x",
                **{
                    "agents__help.yaml": "prompt: x\nmodel: a\npolicy: b\n",
                    "documents__nobody__x.md": "x",
                    "agnets__x.yaml": "a: 1\n",
                },
            )
        )
    assert len(str(bad.value).splitlines()) == 4


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "more than 100,000 values"),
        ("a: &a [*a]\n", "an alias holds itself"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("a: " + "9" * 5_000, "no valid YAML"),
        ("a: \x00", "no valid YAML"),
        ("a: " + "x" * 1_100_000, "at most 1,048,576"),
        ("a: !!python/object/apply:os.system ['id']\n", "no valid YAML"),
    ],
)
def test_hostile_yaml_is_told_at_once(tmp_path, text, says):
    with pytest.raises(DefinitionsError, match=says):
        load(folder_of(tmp_path, **{"tenants__acme.yaml": text}))


@pytest.mark.parametrize("name", ["tenants/a.yaml", "documents/a.md"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/nowhere")])
def test_what_is_no_file_is_told(tmp_path, name, make):
    make(folder_of(tmp_path) / name)
    with pytest.raises(DefinitionsError, match="no file that can be read"):
        load(tmp_path)


@pytest.mark.parametrize("what", ["absent", "empty"])
def test_no_folder_and_an_empty_one(tmp_path, what):
    with pytest.raises(DefinitionsError, match=r"give one with|defines nothing"):
        load(tmp_path / "nowhere" if what == "absent" else tmp_path)
