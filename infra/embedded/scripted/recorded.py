"""A model and tools that replay a recording: recorded requests get the recorded responses.

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

from infra.embedded.scripted.completions import body_of, completion, error_response, models
from infra.embedded.serving import bound, serve

KIND = "recorded"
READY_PATH = "/healthz"
TOKENS = re.compile(r"tokens (\d+) (\d+)")
NUMBER = re.compile(r"-(\d+)$")
SHOWN = 300
Message = dict[str, Any]


class RecordingMismatchError(Exception):
    """A request differs from the recording; the text names the first difference."""


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


def normal(message: Message) -> Message:
    """A message reduced to the fields that make a conversation."""
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


def read(file: Path) -> list[list[Message]]:
    """The conversations of a file, line by line. Raises SystemExit."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [
            [normal(m) for m in json.loads(line)["messages"]] if line.strip() else []
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(
            f"{file} is no recording ({type(error).__name__}: {error}): each line must be a JSON "
            "object with `messages`."
        ) from error


class Player:
    """The conversations, and for each session the index of the last message of its model."""

    def __init__(self, conversations: list[list[Message]]):
        self._conversations = conversations
        self._positions: dict[str, tuple[list[Message], int]] = {}
        self.counts: Counter[str] = Counter()
        self.mismatches: list[str] = []

    def mismatched(self, why: str) -> None:
        """Count a request that was not recorded; the last twenty reasons are kept."""
        self.counts["mismatched"] += 1
        self.mismatches = [*self.mismatches[-19:], why]

    def stats(self) -> dict[str, Any]:
        names = ("model_asked", "model_answered", "tool_asked", "tool_answered", "mismatched")
        return {name: self.counts[name] for name in names} | {"mismatches": self.mismatches}

    def model(self, session: str, asked: dict[str, Any]) -> Message:
        """The recorded answer to these messages. Raises RecordingMismatchError."""
        messages = [normal(message) for message in asked["messages"]]
        conversation = self._conversation(session, messages)
        for index, message in enumerate(messages):
            recorded = conversation[index] if index < len(conversation) else None
            if message != recorded:
                raise RecordingMismatchError(
                    f"message {index} of {session}: recorded {_short(recorded)}, "
                    f"asked {_short(message)}"
                )
        if len(messages) >= len(conversation) or conversation[len(messages)]["role"] != "assistant":
            raise RecordingMismatchError(
                f"{session}: no answer was recorded after {len(messages)} messages"
            )
        self._positions[session] = conversation, len(messages)
        return conversation[len(messages)]

    def tool(self, session: str, call: str, name: str, arguments: str) -> tuple[str, bool]:
        """The recorded result of a call, and whether it ended the run. Raises
        RecordingMismatchError.
        """
        conversation, index = self._positions.get(session, ([], -1))
        wanted = conversation[index]["tool_calls"] if conversation else []
        if {"id": call, "name": name, "arguments": arguments} not in wanted:
            raise RecordingMismatchError(
                f"{session} after message {index}: recorded calls {_short(wanted)}, asked "
                f"{_short([call, name, arguments])}"
            )
        results = index + 1
        while results < len(conversation) and conversation[results]["role"] == "tool":
            results += 1
        found = [m for m in conversation[index + 1 : results] if m["tool_call_id"] == call]
        if not found:
            raise RecordingMismatchError(
                f"{session}: no result was recorded of the call {call} of {name}"
            )
        return found[0]["content"] or "", results == len(conversation) or conversation[results][
            "role"
        ] == "user"

    def _conversation(self, session: str, messages: list[Message]) -> list[Message]:
        number = NUMBER.search(session)
        if number and int(number[1]) < len(self._conversations):
            return self._conversations[int(number[1])]
        for conversation in self._conversations:
            if conversation[: len(messages)] == messages:
                return conversation
        raise RecordingMismatchError(
            f"{session or 'a request without a session'}: no conversation begins with these "
            f"messages, the last is {_short(messages[-1])}"
        )


def application(conversations: list[list[Message]]) -> Starlette:
    """The ASGI application that plays conversations."""
    player = Player(conversations)

    def mismatched(why: Exception) -> Response:
        player.mismatched(str(why))
        return error_response(409, str(why), code="not_as_recorded")

    async def chat(request: Request) -> Response:
        player.counts["model_asked"] += 1
        try:
            asked = await body_of(request)
            usage = TOKENS.fullmatch(asked["messages"][-1].get("content") or "")
            response = (
                {"content": "Done.", "tool_calls": []}
                if usage
                else player.model(request.headers.get("weir-session", ""), asked)
            )
        except (RecordingMismatchError, ValueError, KeyError, TypeError, IndexError) as error:
            return mismatched(error)
        player.counts["model_answered"] += 1
        tokens = (int(usage[1]), int(usage[2])) if usage else None
        return JSONResponse(
            completion(asked, KIND, response["content"], response["tool_calls"], tokens)
        )

    async def tool(request: Request) -> Response:
        player.counts["tool_asked"] += 1
        headers = request.headers
        arguments = (await request.body()).decode("utf-8", "replace")
        try:
            content, ends = player.tool(
                headers.get("weir-session", ""),
                headers.get("weir-call", ""),
                request.path_params["name"],
                arguments,
            )
        except RecordingMismatchError as error:
            return mismatched(error)
        player.counts["tool_answered"] += 1
        return PlainTextResponse(content, headers={"weir-ends": "true"} if ends else None)

    async def stats(_: Request) -> Response:
        return JSONResponse(player.stats())

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", lambda _: models(KIND)),
            Route("/stats", stats),
            Route("/tools/{name}", tool, methods=["POST"]),
            Route(READY_PATH, lambda _: PlainTextResponse("ok")),
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
