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


class FaultyNetwork(httpx2.AsyncBaseTransport):
    """A server of protocol 2025-06-18 with one tool, which answers as a case of the corpus says.

    `call` and `list` are replies to `tools/call` and `tools/list`; `old_session` is the reply to
    every request of a session but the newest, and the session of the first call is forgotten after
    it. A reply is `{"result"}`, `{"error"}`, `{"status", "type", "body"}`, `"hang"` or `"lost"`.
    `calls` are the calls that were carried out.
    """

    def __init__(self, case: dict, streamed: bool = False):
        self.case = case
        self.streamed = streamed
        self.calls = 0
        self.listed = 0
        self._sessions = 0
        self._answered = 0

    async def handle_async_request(self, request):
        if request.method != "POST":
            return httpx2.Response(405, request=request)
        said = json.loads(request.content)
        method = said["method"]
        if method == "server/discover":
            return httpx2.Response(400, text="what?", request=request)
        if method == "initialize":
            self._sessions += 1
            answer = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "faulty", "version": "1"},
            }
            headers = {"mcp-session-id": f"session-{self._sessions}"}
            return self._reply(request, said, {"result": answer}, headers)
        if "id" not in said:
            return httpx2.Response(202, request=request)
        if (old := self.case.get("old_session")) and self._forgotten(request):
            return self._reply(request, said, old)
        if method == "tools/list":
            self.listed += 1
            return await self._answer(request, said, self.case.get("list", {"result": LIST}))
        self.calls += 1
        self._answered += 1
        return await self._answer(request, said, self.case.get("call", BOOKED))

    def _forgotten(self, request):
        """Whether the session is an old one: the first after its first call, or any."""
        if self.case.get("forgets_always"):
            return self._answered > 0
        return bool(self._answered) and request.headers["mcp-session-id"] == "session-1"

    async def _answer(self, request, said, reply):
        if reply == "hang":
            await asyncio.Event().wait()
        if reply == "lost":
            raise httpx2.ReadError("cut")
        return self._reply(request, said, reply)

    def _reply(self, request, said, reply, headers=None):
        if "status" in reply:
            return httpx2.Response(
                reply["status"],
                content=reply.get("body", ""),
                headers={"content-type": reply.get("type", "text/plain")},
                request=request,
            )
        body = json.dumps({"jsonrpc": "2.0", "id": said["id"]} | reply)
        kind = "application/json"
        if self.streamed:
            body = f"event: message\ndata: {body}\n\n"
            kind = "text/event-stream"
        headers = {"content-type": kind} | (headers or {})
        return httpx2.Response(200, content=body, headers=headers, request=request)


BOOKED = {"result": {"content": [{"type": "text", "text": "booked C-77"}]}}
LIST = {
    "tools": [
        {
            "name": "book",
            "inputSchema": {"type": "object"},
            "outputSchema": {
                "type": "object",
                "required": ["ref"],
                "properties": {"ref": {"type": "string"}},
            },
        }
    ]
}
