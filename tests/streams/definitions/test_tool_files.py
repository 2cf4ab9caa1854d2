"""Tools' files are completed, and mistakes are reported with file, line and what to do."""

import asyncio
import json

import httpx
import pytest

from processors.common.json_schema import schema_error
from processors.tools import call
from processors.tools.openapi import Spec
from processors.tools.provider_schemas import provider_errors
from schemas.definitions.kinds import Definitions
from schemas.definitions.tools import McpServer
from schemas.events.agent.runs import ToolCalled
from schemas.ports import ToolAnswer
from sinks.tools.kinds import ToolContext
from sinks.tools.runner import ToolRunner
from streams.config import Settings
from streams.definitions import folder, tool_files
from streams.http_app import application
from tests.support.processors import of_run

SPEC = """openapi: 3.1.0
servers: [{url: "https://shop/api"}]
paths:
  /orders/{id}/refund:
    post:
      operationId: refund
      summary: Refund an order.
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: notify, in: query, schema: {type: array, items: {type: string}}}
        - {name: X-Shop, in: header, schema: {type: string}}
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, required: [reason], properties: {reason: {type: string}}}
  /refunds/{key}:
    get: {operationId: find, parameters: [{name: key, in: path, required: true}]}
  /broken:
    put:
      operationId: broken
      parameters:
        - {$ref: "#/nowhere"}
"""


def load(tmp_path, tool, spec=SPEC, name="refund"):
    (tmp_path / "tools").mkdir(exist_ok=True)
    (tmp_path / "spec.yaml").write_text(spec)
    (tmp_path / "tools" / f"{name}.yaml").write_text(tool)
    [made] = folder.load(tmp_path, 1).definitions
    return made


def test_an_operation_makes_a_definition_that_stands_alone(tmp_path):
    tool = load(
        tmp_path,
        "via: openapi\nspec: ../spec.yaml\noperation: refund\neffect: reconcilable\n"
        "reconcile: {operation: find}\nheaders: {authorization: 'Bearer env:KEY'}\n",
    )
    (tmp_path / "spec.yaml").unlink()
    assert (tool.description, tool.target.method) == ("Refund an order.", "POST")
    assert tool.reconcile.url == "https://shop/api/refunds/{key}"
    called = of_run(
        ToolCalled,
        "1",
        step=1,
        call="c1",
        tool="refund",
        tool_version=1,
        effect="reconcilable",
        arguments='{"id": "A/1", "notify": ["a", "b"], "X-Shop": "ü\\nx: y", "reason": "läte"}',
    )
    seen = []

    def shop(request):
        seen.append(request)
        return httpx.Response(200, text="done")

    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(shop)) as http:
            return await ToolRunner(ToolContext(http, http), lambda _: "sesame")(
                call.ask(called, Definitions.of(tool))
            )

    assert isinstance(asyncio.run(run()), ToolAnswer)
    [request] = seen
    assert str(request.url) == "https://shop/api/orders/A%2F1/refund?notify=a&notify=b"
    assert json.loads(request.content) == {"reason": "läte"}
    assert (request.headers["x-shop"], request.headers["authorization"]) == (
        "%C3%BC%0Ax: y",
        "Bearer sesame",
    )


def test_what_http_promises_of_a_method_is_the_effect_and_a_file_may_say_more(tmp_path):
    tool = load(
        tmp_path, "via: openapi\nspec: ../spec.yaml\noperation: find\nurl: http://127.0.0.1/x/\n"
    )
    assert (tool.effect, tool.target.url) == ("pure", "http://127.0.0.1/x/refunds/{key}")
    assert (
        load(tmp_path, "via: openapi\nspec: ../spec.yaml\noperation: refund\ndescription: d").effect
        == "once"
    )


def test_numbers_of_tokens_are_no_secrets(tmp_path):
    tool = load(
        tmp_path,
        "via: mcp\nserver: {command: [x], env: {MAX_TOKENS: '9', KEY_FILE: k}}\nparameters: {}",
    )
    assert tool.target.server.env["MAX_TOKENS"] == "9"


def test_loose_schemas_are_written_anew_and_arguments_renamed(tmp_path):
    tool = load(
        tmp_path,
        "url: http://x/y\n"
        "parameters: {type: dict, properties: {año: {type: int}}, required: [año]}",
    )
    assert tool.parameters == {
        "type": "object",
        "properties": {"ano": {"type": "integer"}},
        "required": ["ano"],
    }
    called = of_run(
        ToolCalled,
        "1",
        step=1,
        call="c1",
        tool="refund",
        tool_version=1,
        effect="pure",
        arguments='{"ano": 3}',
    )
    assert call.ask(called, Definitions.of(tool)).arguments == '{"año": 3}'


@pytest.mark.parametrize(
    "tool, line, words",
    [
        (
            "via: openapi\nspec: ../spec.yaml\noperation: gone",
            3,
            "there are: GET /refunds/{key}, POST /orders/{id}/refund",
        ),
        (
            "via: openapi\noperation: broken\nspec: ../spec.yaml",
            2,
            "spec.yaml, line 23: $ref '#/nowhere' points at nothing",
        ),
        ("via: openapi\nspec: ../gone.yaml\noperation: a", 2, "cannot be read"),
        ("via: openapi\nspec: http://127.0.0.1:1/x\noperation: a", 2, "cannot be read"),
        ("via: openapi\nspec: ../spec.yaml", 1, "needs `operation`"),
        ("via: python", 1, "needs `entry`"),
        ("via: kafka\nreply_topic: b", 1, "needs `request_topic`"),
        ("via: kafka\nrequest_topic: a\nreply_topic: weir.agent.woke", 3, "not allowed as a topic"),
        ("via: kafka\nrequest_topic: ''\nreply_topic: b", 1, "needs `request_topic`"),
        ("via: mcp", 1, "needs `server`"),
        ("url: http://x\nvia: ftp", 2, "one of http, openapi, mcp, python, kafka, search, agent"),
        ("via: openapi\nspec: ../spec.yaml\noperation: refund\nmethod: GET", 4, "filled in"),
        ("via: mcp\nserver: {url: http://x, port: 1}", 2, "unknown key 'server.port'"),
        ("url: http://x\ntarget: {}", 1, "`target` is no key of a tool"),
        ("url: http://x\nuri: y", 2, "a tool has: agent, approval, concurrency"),
        ("via: python\nentry: a.b", 2, "should match pattern"),
        ("via: python\nentry: a:b\nurl: http://x", 3, "not for"),
        ("url: http://x\nplaces: {}", 2, "filled in"),
        ("url: ftp://x", 1, "no http address"),
        ("{}", 1, "needs `url`"),
        ("url: http://u:p@x/", 1, "env:NAME"),
        ("url: http://x\nheaders:\n  a: b\n  x-api-key: abc", 4, "export NAME"),
        ("via: openapi\nspec: http://u:p@x/\noperation: a", 2, "user or password"),
        ("url: http://x\neffect: reconcilable", 2, "belong together"),
        ("url: http://x\nreconcile: {url: http://y}", 2, "belong together"),
        ("url: http://x\neffect: reconcilable\nreconcile: {entry: 'a:b'}", 3, "at a `url`"),
        ("url: http://x\neffect: reconcilable\nreconcile: {}", 3, "give one of"),
        (
            "url: http://x\neffect: reconcilable\nreconcile:\n  url: http://y\n  headers: "
            "{cookie: a}",
            5,
            "export NAME",
        ),
        ("via: mcp\nserver: {url: http://x, command: [y]}", 2, "not both"),
        ("via: mcp\nserver:\n  command: [y]\n  env: {SHOP_TOKEN: abc}", 4, "export NAME"),
        ("url: http://x\nreturns: {type: nothing}", 2, "returns is no JSON Schema"),
        ("url: http://x\nparameters: {type: nothing}", 2, "no JSON Schema"),
        ("url: http://x\nparameters:\n  type: object\n  anyOf: []", 2, "JSON Schema"),
        ("url: http://x\nparameters:\n  type: object\n  anyOf: [{}]", 4, "two tools"),
        ("url: http://x\nparameters:\n  properties:\n    a:\n      properties: {ü: {}}", 5, "'ü'"),
        (
            "url: http://x\nparameters: {properties: {a: {$ref: 'b.json'}}}",
            2,
            "out of the document",
        ),
        ("name: a.b\nurl: http://x", 1, "'a_b'"),
        ("url: http://x\ndescription: " + "a" * 1025, 2, "1,025 characters"),
        (
            "url: http://x/{id}\nparameters: {properties: {id: {type: string}}}",
            1,
            "'id' is part of the address",
        ),
        (
            "via: openapi\nspec: ../spec.yaml\noperation: refund\nparameters: {properties: {to: "
            "{}}}",
            4,
            "has no argument 'to'",
        ),
        (
            "via: openapi\nspec: ../spec.yaml\noperation: refund\nparameters: {}",
            4,
            "'id' is part of the address",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_to_do(tmp_path, tool, line, words):
    with pytest.raises(folder.DefinitionsError) as told:
        load(tmp_path, tool)
    assert f"refund.yaml, line {line}: " in str(told.value) and words in str(told.value)


def test_a_server_is_asked_for_what_a_file_does_not_say(tmp_path, monkeypatch):
    listed = {"type": "dict", "properties": {"n": {"type": "int"}}}

    async def described(_self, server, tool, _left_s, _secret):
        return f"{tool} of {server.url}", listed

    monkeypatch.setattr(tool_files.McpTools, "describe", described)
    tool = load(tmp_path, "via: mcp\nserver: {url: http://x}")
    assert (tool.target.mcp_tool, tool.description) == ("refund", "refund of http://x")
    assert tool.parameters["properties"] == {"n": {"type": "integer"}}
    monkeypatch.undo()
    with pytest.raises(
        folder.DefinitionsError, match=r"line 2: its server cannot be asked .*: start it, or write"
    ):
        load(tmp_path, "via: mcp\nserver: {url: http://127.0.0.1:1/mcp}")
    with pytest.raises(folder.DefinitionsError, match="WEIR_MCP_COMMANDS"):
        load(tmp_path, "via: mcp\nserver: {command: [rm]}")
    assert (
        load(
            tmp_path, "via: mcp\nserver: {command: [rm]}\nmcp_tool: x\nparameters: {}"
        ).target.mcp_tool
        == "x"
    )


@pytest.mark.parametrize(
    "spec, words",
    [
        ('{\n"openapi": 3,,}', "spec.yaml, line 2: no JSON or YAML"),
        ("a: [", "no JSON or YAML"),
        ("swagger: '2.0'", "Swagger"),
        ("[]", "no OpenAPI 3 document"),
    ],
)
def test_a_document_that_is_none(tmp_path, spec, words):
    with pytest.raises(folder.DefinitionsError, match=words):
        load(tmp_path, "via: openapi\nspec: ../spec.yaml\noperation: a", spec)


def test_more_tools_than_a_provider_takes(tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "a.yaml").write_text(
        f"prompt: p\nmodel: m\ntools: [{', '.join(['refund'] * 129)}]"
    )
    with pytest.raises(
        folder.DefinitionsError,
        match=r"a\.yaml, line 3: 129 tools: model providers take at most 128",
    ):
        load(tmp_path, "url: http://x")


def test_every_operation_of_a_real_document_becomes_a_tool():
    """The gateway's own, as its framework writes it."""
    document = application(Settings(), None, list).openapi()
    spec = Spec(document, "https://weir/openapi.json")
    seen = set()
    for path, item in document["paths"].items():
        for method in item:
            made = spec.operation(f"{method.upper()} {path}")
            assert ([*provider_errors(made.parameters)], schema_error(made.parameters)) == (
                [],
                None,
            )
            assert (
                made.parameters["properties"].keys() == made.places.keys()
                and made.url == f"https://weir{path}"
            )
            seen.add(path)
    assert {"/v1/requests", "/v1/runs/{run}", "/v1/chat/completions"} <= seen


def test_a_file_beside_a_tool_is_found_from_wherever_its_server_is_started(tmp_path):
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "shop.py").write_text("")
    server = McpServer(
        command=("python3", "servers/shop.py", "-m", "shop", "servers/other.py", "--data=x/y")
    )
    placed = tool_files._placed_here(server, tmp_path / "tool.yaml")
    assert placed.command == (
        "python3",
        str(tmp_path / "servers/shop.py"),
        "-m",
        "shop",
        "servers/other.py",
        "--data=x/y",
    )
