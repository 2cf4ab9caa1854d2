"""A model and tools that follow a script, over the chat completions protocol.

`python -m infra.embedded.scripted.server --script FILE --port N` serves `/v1/chat/completions` by
rules (the first one that matches the last message wins) and `/tools/NAME` by tables. Equal requests
get equal responses, and every response says that it is scripted. A script is YAML:

    rules:
      - when: {last: user, matches: "order (?P<order>A-[0-9]+)"}
        call: {name: lookup_order, arguments: {order: "{order}"}}
      - when: {last: tool, tool: lookup_order}   # and `model: scripted-1`, where several models
        have one script
        say: "It is {result.status}."
        usage: {input_tokens: 120, output_tokens: auto}
        delay_ms: 50
        word_ms: 30        # between two words, where the answer is streamed
    tools:
      lookup_order:
        - {when: {order: "A-1001"}, returns: {status: "on its way"}}
        - {returns: {error: "no such order"}, status: 404}
"""

import argparse
import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from infra.embedded.scripted.completions import (
    body_of,
    chunks,
    completion,
    error_response,
    fingerprint,
    models,
    tokens_in,
)
from infra.embedded.serving import bound, serve

KIND = "scripted"
READY_PATH = "/healthz"
NO_RULE = "I am scripted, and my script has no answer to this."
FIELD = re.compile(r"\{([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)\}")
RULE_KEYS = {"when", "say", "call", "calls", "usage", "delay_ms", "word_ms"}
WHEN_KEYS = {"last", "matches", "tool", "model"}
ROW_KEYS = {"when", "returns", "status", "delay_ms"}


def argv(script: Path, port: int) -> list[str]:
    """The command that a supervisor starts."""
    return [
        sys.executable,
        "-m",
        "infra.embedded.scripted.server",
        "--script",
        str(script),
        "--port",
        str(port),
    ]


def load(path: Path) -> dict[str, Any]:
    """The checked script of a file. Raises SystemExit."""
    try:
        script = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        check(script)
    except OSError as error:
        raise SystemExit(
            f"The script {path} cannot be read ({error.strerror}): name a file that exists."
        ) from error
    except (yaml.YAMLError, ValueError, re.error) as error:
        raise SystemExit(
            f"The script {path} is invalid: {error}. Correct it and start again."
        ) from error
    return script


def check(script: Any) -> None:
    """Raises ValueError for keys that would be ignored, and for rules without a response."""
    if not isinstance(script, dict) or not script.keys() <= {"rules", "tools"}:
        raise ValueError("it needs `rules` and `tools` and nothing else")
    for nth, rule in enumerate(script.get("rules") or (), 1):
        unknown = (rule.keys() - RULE_KEYS) | ((rule.get("when") or {}).keys() - WHEN_KEYS)
        if unknown or sum(key in rule for key in ("say", "call", "calls")) == 0:
            raise ValueError(
                f"rule {nth} has unknown keys {sorted(unknown)}, or neither `say` nor `call`"
            )
        re.compile((rule.get("when") or {}).get("matches", ""))
    for name, rows in (script.get("tools") or {}).items():
        if any(row.keys() - ROW_KEYS or "returns" not in row for row in rows):
            raise ValueError(
                f"each row of tool {name} needs `returns`, and may have `when`, `status` and "
                "`delay_ms`"
            )


async def streamed(response: dict[str, Any], word_ms: float) -> AsyncIterator[bytes]:
    """The chunks of a response, with a pause after each."""
    for chunk in chunks(response):
        yield chunk
        await asyncio.sleep(word_ms / 1000)


def answer(
    script: Mapping[str, Any], request_body: dict[str, Any]
) -> tuple[dict[str, Any], float, float]:
    """The completion for a request, and the milliseconds to wait before it and after each word."""
    messages = request_body.get("messages") or [{}]
    for rule in script.get("rules") or ():
        when = rule.get("when") or {}
        fields = (
            fitting(when, messages)
            if when.get("model") in (None, request_body.get("model"))
            else None
        )
        if fields is not None:
            return (
                completed(rule, fields, request_body),
                float(rule.get("delay_ms", 0)),
                float(rule.get("word_ms", 0)),
            )
    return completion(request_body, KIND, NO_RULE, []), 0, 0


def fitting(when: Mapping[str, str], messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fields for a rule's templates, or None where it does not match the last message."""
    last = messages[-1]
    content = last.get("content") or ""
    if when.get("last") not in (None, last.get("role")) or when.get("tool") not in (
        None,
        tool_of(messages),
    ):
        return None
    found = re.search(when.get("matches", ""), content, re.IGNORECASE)
    if found is None:
        return None
    fields: dict[str, Any] = {
        str(nth): value for nth, value in enumerate((found.group(0), *found.groups()))
    }
    fields |= found.groupdict()
    fields |= {"0": found.group(1) if found.re.groups else found.group(0)}
    if last.get("role") == "tool":
        fields["result"] = as_json(content)
    return fields


def tool_of(messages: list[dict[str, Any]]) -> str | None:
    """The tool whose result the last message is: by its name, or by the call that it answers."""
    last = messages[-1]
    if last.get("role") != "tool" or last.get("name"):
        return last.get("name") if last.get("role") == "tool" else None
    calls = [call for message in messages for call in message.get("tool_calls") or ()]
    return next(
        (c["function"]["name"] for c in reversed(calls) if c["id"] == last.get("tool_call_id")),
        None,
    )


def completed(
    rule: Mapping[str, Any], fields: dict[str, Any], request_body: dict[str, Any]
) -> dict[str, Any]:
    wanted = [*rule.get("calls", ()), *([rule["call"]] if "call" in rule else ())]
    calls = [
        {
            "id": f"call_{fingerprint(request_body)}_{nth}",
            "name": call["name"],
            "arguments": json.dumps(filled(call.get("arguments") or {}, fields)),
        }
        for nth, call in enumerate(wanted)
    ]
    response = limited(
        completion(
            request_body, KIND, filled(rule["say"], fields) if "say" in rule else None, calls
        ),
        request_body,
    )
    names = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
    usage = response["usage"] | {
        names[k]: int(v) for k, v in (rule.get("usage") or {}).items() if v != "auto"
    }
    return response | {
        "usage": usage | {"total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}
    }


def limited(response: dict[str, Any], request_body: dict[str, Any]) -> dict[str, Any]:
    """The response, cut off at the request's token limit as a model's would be."""
    [choice] = response["choices"]
    most = request_body.get("max_completion_tokens") or request_body.get("max_tokens")
    content = choice["message"]["content"]
    if not content or not isinstance(most, int) or tokens_in(content) <= most:
        return response
    choice = choice | {
        "message": choice["message"] | {"content": content[: 4 * most]},
        "finish_reason": "length",
    }
    return response | {
        "choices": [choice],
        "usage": response["usage"] | {"completion_tokens": most},
    }


def filled(template: Any, fields: Mapping[str, Any]) -> Any:
    """A template with its fields filled in, at any depth; unknown fields stay as they are."""
    if isinstance(template, dict):
        return {name: filled(value, fields) for name, value in template.items()}
    if isinstance(template, list):
        return [filled(value, fields) for value in template]
    if not isinstance(template, str):
        return template
    return FIELD.sub(lambda found: _text(_at(fields, found[1]), found[0]), template)


def tool_result(
    script: Mapping[str, Any], tool: str, arguments: dict[str, Any]
) -> tuple[Any, int, float] | None:
    """A tool's result for arguments, its HTTP status and the delay in milliseconds, if any."""
    for row in (script.get("tools") or {}).get(tool, ()):
        if all(
            str(arguments.get(name)) == str(value)
            for name, value in (row.get("when") or {}).items()
        ):
            return (
                filled(row["returns"], arguments),
                int(row.get("status", 200)),
                float(row.get("delay_ms", 0)),
            )
    return None


def application(script: Mapping[str, Any]) -> Starlette:
    """The ASGI application that plays a script."""

    async def chat(request: Request) -> Response:
        try:
            request_body = await body_of(request)
        except ValueError as error:
            return error_response(400, str(error))
        if not isinstance(request_body.get("messages"), list) or not request_body["messages"]:
            return error_response(400, "the scripted model needs `messages`")
        response, wait_ms, word_ms = answer(script, request_body)
        await asyncio.sleep(wait_ms / 1000)
        if request_body.get("stream"):
            return StreamingResponse(streamed(response, word_ms), media_type="text/event-stream")
        return JSONResponse(response)

    async def tool(request: Request) -> Response:
        try:
            arguments = (
                dict(request.query_params) if request.method == "GET" else await body_of(request)
            )
        except ValueError as error:
            return error_response(400, str(error))
        found = tool_result(script, request.path_params["name"], arguments)
        if found is None:
            return error_response(
                404, f"the script has no result of {request.path_params['name']} for {arguments}"
            )
        await asyncio.sleep(found[2] / 1000)
        return JSONResponse(found[0], found[1], headers={"x-scripted": "true"})

    async def listed(_: Request) -> Response:
        return models(KIND)

    async def well(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", listed),
            Route(READY_PATH, well),
            Route("/tools/{name}", tool, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
    )


def as_json(text: str) -> Any:
    """The value of a JSON text, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for name in path.split("."):
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return None
    return value


def _text(value: Any, otherwise: str) -> str:
    if value is None:
        return otherwise
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    parser = argparse.ArgumentParser(description="A model and tools that follow a script.")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    request_body = parser.parse_args()
    serve(application(load(request_body.script)), bound("127.0.0.1", request_body.port))


if __name__ == "__main__":
    main()
