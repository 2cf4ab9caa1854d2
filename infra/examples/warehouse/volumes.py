"""An MCP server (revision 2025-11-25, standard streams) that computes the volume of a parcel.

It needs nothing but Python and shows the protocol; use a library for a server of your own.
"""

import json
import sys
from typing import Any

TOOLS = [
    {
        "name": "litres",
        "description": "The volume of a parcel in litres",
        "inputSchema": {
            "type": "object",
            "required": ["length_cm", "width_cm", "height_cm"],
            "properties": {
                "length_cm": {"type": "number"},
                "width_cm": {"type": "number"},
                "height_cm": {"type": "number"},
            },
        },
    }
]


def answer(method: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None where there is no such method."""
    if method == "initialize":
        return {
            "protocolVersion": parameters["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "volumes", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        sides = parameters["arguments"]
        litres = sides["length_cm"] * sides["width_cm"] * sides["height_cm"] / 1_000
        return {"content": [{"type": "text", "text": f"{litres:g} litres"}]}
    return None


def serve() -> None:
    """Answer each line, one message each; a message without an id is a notification."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        result = answer(request["method"], request.get("params") or {})
        response = (
            {"error": {"code": -32601, "message": "no such method"}}
            if result is None
            else {"result": result}
        )
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"]} | response), flush=True)


if __name__ == "__main__":
    serve()
