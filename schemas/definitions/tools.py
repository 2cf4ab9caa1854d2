"""A tool, and its target: the one of seven ways in which it is reached.

In YAML and in a published definition the fields of the target stand beside those of the tool, and
`via` names the target; without it a tool is reached over HTTP.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schemas.definitions.base import Definition
from schemas.definitions.limits import Approval
from schemas.events.base import Value
from schemas.events.values import Effect, Name

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
Shorten = Literal["ends", "outline", "refuse"]
"""What a model sees of a result that is longer than it may see: its beginning and its end; of JSON
its outline, with long lists and texts cut; or nothing, the call has failed then.
"""
ENTRY = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


class ArgumentPlace(Value):
    """Where an argument goes in the request of an OpenAPI operation, and under which name.

    `whole` in place of a name's value: the argument is the body itself. Styles are OpenAPI's.
    """

    where: Literal["path", "query", "header", "cookie", "body", "whole"]
    name: str
    style: Literal["simple", "form", "deepObject", "json"] = "form"
    explode: bool = True


class McpServer(Value):
    """An MCP server: over streamable HTTP at `url`, or a `command` that speaks on its standard
    input and output.

    Values of `headers` and `env` may be secrets (`env:NAME`).
    """

    url: str = ""
    headers: dict[str, str] = {}
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}

    @model_validator(mode="after")
    def _is_one_of_both(self) -> "McpServer":
        if bool(self.url) == bool(self.command):
            raise ValueError("a server has a `url` or a `command`, and not both")
        return self


class Reconcile(Value):
    """The second operation of a `reconcilable` tool: it is asked with our key whether the first one
    happened.

    `{key}` in `url` stands for the key, which is also sent as header `idempotency-key`, beside the
    tool's own `headers` and these; a tool over MCP names a tool of the same server, and a Python
    one an entry, called with the argument `idempotency_key`. What is answered:

    - 200 with any body, or `{"done": true, "result": ...}`: it happened, and this is its result;
    - 404 or 410, or `{"done": false}`: it did not happen and will not, so the tool may be called
      again;
    - 202, 409 or 425, or `{"done": null}`: it is under way, so the same is asked again a little
      later.
    """

    url: str = ""
    method: Literal["GET", "POST"] = "GET"
    headers: dict[str, str] = {}
    operation: str = ""
    mcp_tool: str = ""
    entry: Annotated[str, Field(pattern=f"^$|{ENTRY}")] = ""

    @model_validator(mode="after")
    def _is_one_thing(self) -> "Reconcile":
        if (
            sum(map(bool, (self.url, self.mcp_tool, self.entry)))
            + bool(self.operation and not self.url)
            != 1
        ):
            raise ValueError("give one of `url`, `operation`, `mcp_tool` and `entry`")
        return self


Text = Annotated[str, Field(min_length=1)]


class HttpTarget(Value):
    """An address that takes the arguments as JSON, or as a query where the method has no body.

    Header values may be secrets (`env:NAME`).
    """

    via: Literal["http"] = "http"
    url: Text
    method: Method = "POST"
    headers: dict[str, str] = {}


class OpenApiTarget(Value):
    """An `operation` of an OpenAPI document, the `spec`.

    `url` is the server where it is not the document's. When the tool is applied it becomes the
    operation's own address, and `method`, `places` and `body_type` are filled in: a published
    definition stands alone.
    """

    via: Literal["openapi"] = "openapi"
    spec: Text
    operation: Text
    url: str = ""
    headers: dict[str, str] = {}
    method: Method = "POST"
    places: dict[str, ArgumentPlace] = {}
    body_type: str = ""


class McpTarget(Value):
    """A tool of an MCP server: `mcp_tool`, or the one that has the definition's name."""

    via: Literal["mcp"] = "mcp"
    server: McpServer
    mcp_tool: str = ""


class PythonTarget(Value):
    """A Python function, `package.module:function`."""

    via: Literal["python"] = "python"
    entry: Annotated[str, Field(pattern=ENTRY)]


class KafkaTarget(Value):
    """A service that reads its requests from one topic and writes its replies to another."""

    via: Literal["kafka"] = "kafka"
    request_topic: Text
    reply_topic: Text


class SearchTarget(Value):
    """The tenant's knowledge."""

    via: Literal["search"] = "search"


class AgentTarget(Value):
    """Another agent, which does the `task`; with a `terminal` tool it takes the conversation over."""

    via: Literal["agent"] = "agent"
    agent: Name


ToolTarget = (
    HttpTarget | OpenApiTarget | McpTarget | PythonTarget | KafkaTarget | SearchTarget | AgentTarget
)
TARGETS: dict[str, type[ToolTarget]] = {
    "http": HttpTarget,
    "openapi": OpenApiTarget,
    "mcp": McpTarget,
    "python": PythonTarget,
    "kafka": KafkaTarget,
    "search": SearchTarget,
    "agent": AgentTarget,
}
"""The targets by their `via`."""
FILLED_IN = frozenset({"places", "body_type", "names"})
"""Fields that no file has: they are found when a tool is applied."""
TARGET_FIELDS = frozenset(name for target in TARGETS.values() for name in target.model_fields)

TASK = {
    "type": "object",
    "required": ["task"],
    "properties": {
        "task": {
            "type": "string",
            "description": "What is to be done, with all that is needed to do it: the other agent "
            "knows "
            "nothing else of this conversation.",
        }
    },
}
"""The parameters of a tool whose target is an agent, unless it declares others."""


class Tool(Definition):
    """What an agent may call, with the arguments that `parameters`, a JSON Schema, allows.

    `terminal` ends the run with the tool's result as its answer. Of a result a model sees at most
    `result_chars`, by `shorten`, and the whole is stored; of one over `result_bytes` no more is
    read. `returns` is the JSON Schema of a result, `concurrency` how many calls of it one call
    runner has under way. `names` are the tool's own names of arguments that models know by others;
    they are filled in when it is applied.
    """

    kind: ClassVar[str] = "tool"
    target: Annotated[ToolTarget, Field(discriminator="via")]
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    returns: dict[str, Any] | None = None
    effect: Effect = "once"
    reconcile: Reconcile | None = None
    timeout_ms: Annotated[int, Field(ge=1)] = 30_000
    result_chars: Annotated[int, Field(ge=1)] = 100_000
    result_bytes: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] = 32 * 1024 * 1024
    shorten: Shorten = "ends"
    concurrency: Annotated[int, Field(ge=1)] | None = None
    terminal: bool = False
    names: dict[str, str] = {}
    approval: Approval | None = None

    @property
    def via(self) -> str:
        return self.target.via

    @model_validator(mode="before")
    @classmethod
    def _with_target(cls, data: Any) -> Any:
        """Gathers the fields of the target, which are written beside the tool's own."""
        if not isinstance(data, dict):
            return data
        if isinstance(data.get("target"), Value):
            made = dict(data)
        elif "target" in data:
            raise ValueError("`target` is no key of a tool: write its fields beside the others")
        else:
            made = {name: value for name, value in data.items() if name not in TARGET_FIELDS}
            own = {name: value for name, value in data.items() if name in TARGET_FIELDS}
            made["target"] = {"via": "http"} | own
        via = getattr(made["target"], "via", None) or made["target"]["via"]
        return {"parameters": TASK} | made if via == "agent" else made

    @model_serializer(mode="wrap")
    def _flat(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        target = fields.pop("target", {})
        return fields | target | {"via": self.target.via}
