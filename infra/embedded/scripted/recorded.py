"""What answers when a recording is played: exactly what was recorded, to exactly what was asked
then?

`python -m infra.embedded.scripted.recorded --port N [--file FILE]` serves `/v1/chat/completions`
and `/tools/NAME`. A line of the file is a conversation. Its session's name ends in `-<line from
0>`, which the caller sends as `weir-session`; any other session plays the first conversation that
begins as asked. The model answers only where the messages asked are the recorded ones up to an
assistant's message; a tool only where that message asked for just this call. Anything else is
refused with the first difference. A last user message `tokens N M` is answered with N and M as its
usage.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from infra.embedded.scripted.completions import body_of, completion, models, refusal
from infra.embedded.serving import bound, serve

KIND = "recorded"
READY_PATH = "/healthz"
TOKENS = re.compile(r"tokens (\d+) (\d+)")
NUMBER = re.compile(r"-(\d+)$")
SHOWN = 300
Said = dict[str, Any]


class Mismatch(Exception):
    """What was asked is not what was recorded; says the first difference."""


def argv(file: Path | None, port: int) -> list[str]:
    """The command that starts it."""
    recording = ["--file", str(file)] if file else []
    return [
        sys.executable,
        "-m",
        "infra.embedded.scripted.recorded",
        "--port",
        str(port),
        *recording,
    ]


def normal(message: Said) -> Said:
    """A message without what the protocol leaves to taste: the fields that a conversation consists
    of.
    """
    calls = [
        {
            "id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
        }
        for call in message.get("tool_calls") or ()
    ]
    of_tool = (
        {key: message.get(key) for key in ("tool_call_id", "name")}
        if message["role"] == "tool"
        else {}
    )
    return {
        "role": message["role"],
        "content": message.get("content"),
        "tool_calls": calls,
        **of_tool,
    }


def read(file: Path) -> list[list[Said]]:
    """The conversations of a file, line by line. Raises SystemExit with a sentence."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [
            [normal(m) for m in json.loads(line)["messages"]] if line.strip() else []
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{file} is no recording ({type(error).__name__}: {error}): it needs a JSON object with "
            "`messages` on each line."
        ) from error


class Player:
    """Conversations, and where each session stands: the place of the last message that its model
    gave.
    """

    def __init__(self, conversations: list[list[Said]]):
        self._conversations = conversations
        self._stands: dict[str, tuple[list[Said], int]] = {}
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []

    def model(self, session: str, asked: dict[str, Any]) -> Said:
        """The recorded answer to these messages. Raises Mismatch."""
        messages = [normal(message) for message in asked["messages"]]
        talk = self._conversation(session, messages)
        for place, message in enumerate(messages):
            recorded = talk[place] if place < len(talk) else None
            if message != recorded:
                raise Mismatch(
                    f"message {place} of {session}: recorded {_short(recorded)}, asked {_short(message)}"
                )
        if len(messages) >= len(talk) or talk[len(messages)]["role"] != "assistant":
            raise Mismatch(f"{session}: no answer was recorded after {len(messages)} messages")
        self._stands[session] = talk, len(messages)
        return talk[len(messages)]

    def tool(self, session: str, call: str, name: str, arguments: str) -> tuple[str, bool]:
        """The recorded result of a call, and whether it ended the run. Raises Mismatch."""
        talk, place = self._stands.get(session, ([], -1))
        wanted = talk[place]["tool_calls"] if talk else []
        if {"id": call, "name": name, "arguments": arguments} not in wanted:
            raise Mismatch(
                f"{session} after message {place}: recorded calls {_short(wanted)}, asked "
                f"{_short([call, name, arguments])}"
            )
        results = place + 1
        while results < len(talk) and talk[results]["role"] == "tool":
            results += 1
        found = [m for m in talk[place + 1 : results] if m["tool_call_id"] == call]
        if not found:
            raise Mismatch(f"{session}: no result was recorded of the call {call} of {name}")
        return found[0]["content"] or "", results == len(talk) or talk[results]["role"] == "user"

    def _conversation(self, session: str, messages: list[Said]) -> list[Said]:
        number = NUMBER.search(session)
        if number and int(number[1]) < len(self._conversations):
            return self._conversations[int(number[1])]
        for talk in self._conversations:
            if talk[: len(messages)] == messages:
                return talk
        raise Mismatch(
            f"{session or 'a request without a session'}: no conversation begins with these messages, the "
            f"last is {_short(messages[-1])}"
        )


def application(conversations: list[list[Said]]) -> Starlette:
    """The ASGI application that plays conversations."""
    player = Player(conversations)

    def mismatched(why: Exception) -> Response:
        player.counts["mismatched"] += 1
        player.mismatches = [*player.mismatches[-19:], str(why)]
        return refusal(409, str(why), code="not_as_recorded")

    async def chat(request: Request) -> Response:
        player.counts["model_asked"] += 1
        try:
            asked = await body_of(request)
            usage = TOKENS.fullmatch(asked["messages"][-1].get("content") or "")
            said = (
                {"content": "Done.", "tool_calls": []}
                if usage
                else player.model(request.headers.get("weir-session", ""), asked)
            )
        except (Mismatch, ValueError, KeyError, TypeError, IndexError) as error:
            return mismatched(error)
        player.counts["model_answered"] += 1
        tokens = (int(usage[1]), int(usage[2])) if usage else None
        return JSONResponse(completion(asked, KIND, said["content"], said["tool_calls"], tokens))

    async def tool(request: Request) -> Response:
        player.counts["tool_asked"] += 1
        headers, arguments = request.headers, (await request.body()).decode("utf-8", "replace")
        try:
            content, ends = player.tool(
                headers.get("weir-session", ""),
                headers.get("weir-call", ""),
                request.path_params["name"],
                arguments,
            )
        except Mismatch as error:
            return mismatched(error)
        player.counts["tool_answered"] += 1
        return PlainTextResponse(content, headers={"weir-ends": "true"} if ends else None)

    async def stats(_: Request) -> Response:
        names = ("model_asked", "model_answered", "tool_asked", "tool_answered", "mismatched")
        return JSONResponse(
            {name: player.counts[name] for name in names} | {"mismatches": player.mismatches}
        )

    async def listed(_: Request) -> Response:
        return models(KIND)

    async def well(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", listed),
            Route("/stats", stats),
            Route("/tools/{name}", tool, methods=["POST"]),
            Route(READY_PATH, well),
        ]
    )


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description="A model and tools that say what was recorded.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path)
    asked = parser.parse_args()
    serve(application(read(asked.file) if asked.file else []), bound("127.0.0.1", asked.port))


if __name__ == "__main__":
    main()
