"""What may a tool's definition say of how it is reached, beyond an address?"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from schemas.events.base import Value

Via = Literal["http", "openapi", "mcp", "kafka", "python", "search", "agent"]
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
Shorten = Literal["ends", "outline", "refuse"]
"""What a model sees of a result that is longer than it may see: its beginning and its end; of JSON
its outline, with long lists and texts cut; or nothing, the call has failed then.
"""
ENTRY = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


class Place(Value):
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
