"""An MCP server of the `mcp` package, served over HTTP in this process."""

import asyncio
import contextlib
import json

import httpx2
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("shop")
SEEN: list[dict] = []


@server.tool()
def left(item: str, shelf: str = "A") -> dict:
    """How many of an item are left."""
    return {"item": item, "shelf": shelf, "left": len(item)}


@server.tool()
async def who(context: Context) -> str:
    """Who asks, as the call's own metadata says."""
    SEEN.append(dict(context.request_context.meta or {}))
    return "hello"


@server.tool()
def refuse(why: str) -> str:
    raise ValueError(why)


@server.tool()
def large(chars: int) -> str:
    return "x" * chars


@server.tool()
async def hang() -> str:
    await asyncio.Event().wait()
    return "never"


class Network(httpx2.AsyncBaseTransport):
    """The server, reached over ASGI. `restart` forgets all sessions; `older` knows no protocol
    without them; `fails` are what becomes of the next requests that call a tool: an exception, or a
    response.
    """

    def __init__(self, older: bool = False, streamed: bool = False):
        self.streamed = streamed
        self.older = older
        self.fails = []
        self.asked = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self):
        await self.restart()
        return self

    async def __aexit__(self, *error):
        await self._stack.aclose()

    async def restart(self):
        app = server.streamable_http_app(json_response=not self.streamed)
        await self._stack.aclose()
        await self._stack.enter_async_context(app.router.lifespan_context(app))
        self._app = httpx2.ASGITransport(app=app)

    async def handle_async_request(self, request):
        if request.method == "GET":  # the stream of an older session, which never ends
            return httpx2.Response(405, request=request)
        said = json.loads(request.content or b"{}")
        self.asked.append(said.get("method", request.method))
        if self.older and said.get("method") == "server/discover":
            return httpx2.Response(400, text="what?", request=request)
        if said.get("method") == "tools/call" and self.fails:
            failing = self.fails.pop(0)
            if isinstance(failing, Exception):
                raise failing
            return failing
        return await self._app.handle_async_request(request)
