"""How large is a parcel? An MCP server of revision 2025-11-25 on its standard streams, with nothing
but Python.

It shows what goes over the wire; a server of one's own is better made with a library.
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
    """One line is one message; what has no id wants no answer."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "id" not in asked:
            continue
        result = answer(asked["method"], asked.get("params") or {})
        said = (
            {"error": {"code": -32601, "message": "no such method"}}
            if result is None
            else {"result": result}
        )
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"]} | said), flush=True)


if __name__ == "__main__":
    serve()
