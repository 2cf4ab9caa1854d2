"""An MCP server (2025) on standard streams, without the `mcp` package, to start at once."""

import json
import os
import sys


def answer(method: str, params: dict) -> dict | None:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "shop", "version": "1"},
        }
    if method == "tools/call":
        if params["name"] == "die":
            os._exit(3)
        if params["name"] == "large":
            return {"content": [{"type": "text", "text": "x" * params["arguments"]["chars"]}]}
        return {
            "content": [
                {"type": "text", "text": f"hello {os.environ['SHOP_TOKEN']} from {os.getpid()}"},
                {"type": "image", "data": "", "mimeType": "image/png"},
            ]
        }
    return {"tools": []} if method == "tools/list" else None


for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        result = answer(asked["method"], asked.get("params") or {})
        said = (
            {"error": {"code": -32601, "message": "what?"}}
            if result is None
            else {"result": result}
        )
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"]} | said), flush=True)
