"""Reads the messages of a model call from a span, in every form in which applications write them.

Messages stand in one attribute of JSON (GenAI, Vercel), in many numbered ones
(`llm.input_messages.0.message.role`), or in the span's events (older GenAI). All become the same: a
role, a text, the tools that the model wished for.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

Json = Any
EVENT_ROLES = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}
EVENT_TEXTS = {
    "gen_ai.content.prompt": "gen_ai.prompt",
    "gen_ai.content.completion": "gen_ai.completion",
}
CHOICE, DETAILS = "gen_ai.choice", "gen_ai.client.inference.operation.details"
CALLS = ("tool_call", "tool-call", "tool_use", "function_call", "function")
RESULTS = ("tool_call_response", "tool-result", "tool_result")
OPENED = ("message", "tool_calls", "parts", "contents")
"""Numbered attributes whose JSON is opened. The others are texts, also where a text looks like
JSON.
"""
KNOWN = {"role", "content", "contents", "parts", "message", "tool_calls", "finish_reason"}
DEPTH_MAX = 6


@dataclass(frozen=True)
class Said:
    """One message: who said it, its text, and the tools wished for as `name(arguments)`."""

    role: str
    text: str
    wishes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text or " ".join(self.wishes)


def messages_at(attributes: Mapping[str, Json], name: str) -> list[Said]:
    """The messages in one attribute, or in all that begin with its name and a dot."""
    if name in attributes:
        return _messages(opened(attributes[name]))
    within = {
        key[len(name) + 1 :]: value
        for key, value in attributes.items()
        if key.startswith(name + ".")
    }
    return _messages(_nested(within)) if within else []


def messages_of_events(events: Iterable[Mapping[str, Json]]) -> tuple[list[Said], list[Said]]:
    """What was said and what was answered, as the span's events tell it."""
    said: list[Said] = []
    answered: list[Said] = []
    for event in events:
        name, attributes = event.get("name", ""), event.get("attributes") or {}
        if name in EVENT_ROLES:
            said += _messages([{"role": EVENT_ROLES[name]} | _nested(attributes)])
        elif name == CHOICE:
            answered += _messages([_nested(attributes)])
        elif name in EVENT_TEXTS:
            into = said if name == "gen_ai.content.prompt" else answered
            into += messages_at(attributes, EVENT_TEXTS[name])
        elif name == DETAILS:
            said += messages_at(attributes, "gen_ai.input.messages")
            answered += messages_at(attributes, "gen_ai.output.messages")
    return said, answered


def opened(value: Json) -> Json:
    """What a text of JSON holds; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def as_text(value: Json) -> str:
    """A value as a column of texts holds it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except (
        TypeError
    ):  # half a character, or a number of more than 64 bits, as JSON from elsewhere may hold
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _nested(flat: Mapping[str, Json]) -> dict[str, Json]:
    """`{"0.message.role": "user"}` as the tree that it describes. A branch takes the place of a
    value in its way.
    """
    tree: dict[str, Json] = {}
    for key, value in flat.items():
        at, parts = tree, key.split(".", DEPTH_MAX)
        for part in parts[:-1]:
            below = at.setdefault(part, {})
            if not isinstance(below, dict):
                below = at[part] = {}
            at = below
        at[parts[-1]] = opened(value) if parts[-1] in OPENED else value
    return tree


def _listed(value: Json) -> list[Json]:
    """A list, or the values of `{"0": …, "1": …}` in the order of their numbers."""
    if isinstance(value, dict) and value and all(key.isdigit() for key in value):
        return [value[key] for key in sorted(value, key=int)]
    return value if isinstance(value, list) else [value]


def _messages(value: Json) -> list[Said]:
    if isinstance(value, dict) and isinstance(value.get("messages"), list | dict):
        value = value["messages"]
    return [_message(each) for each in _listed(value) if each not in (None, "")]


def _message(value: Json) -> Said:
    if not isinstance(value, dict):
        return Said("", as_text(value))
    inner = value.get("message")
    if isinstance(inner, dict | str):
        value = {"role": value.get("role", "assistant")} | (
            inner if isinstance(inner, dict) else {"content": inner}
        )
    wishes = [_wish(each) for each in _listed(value.get("tool_calls") or [])]
    texts: list[str] = []
    for part in _listed(value.get("parts") or value.get("contents") or value.get("content") or []):
        _read_part(part, texts, wishes)
    if not texts and not wishes and ("toolName" in value or {"name", "arguments"} <= value.keys()):
        wishes = [_wish(value)]
    elif not texts and not wishes and not KNOWN & value.keys():
        texts = [as_text(value)]
    return Said(str(value.get("role") or ""), "\n".join(filter(None, texts)), tuple(wishes))


def _read_part(part: Json, texts: list[str], wishes: list[str]) -> None:
    if not isinstance(part, dict):
        texts.append(as_text(part))
        return
    part = part.get("message_content") or part
    kind = part.get("type", "text")
    if kind in CALLS:
        wishes.append(_wish(part))
    elif kind in RESULTS:
        found = next(
            (part[name] for name in ("response", "result", "output", "content") if name in part), ""
        )
        texts.append(
            as_text(found["value"] if isinstance(found, dict) and "value" in found else found)
        )
    else:
        texts.append(as_text(part.get("text", part.get("content", ""))))


def _wish(call: Json) -> str:
    """`lookup({"order":"A-1"})`, as our own spans say it."""
    if not isinstance(call, dict):
        return as_text(call)
    call = call.get("tool_call") or call
    function = call.get("function")
    call = function if isinstance(function, dict) else call
    name = call.get("name") or call.get("toolName") or ""
    given = next((call[key] for key in ("arguments", "args", "input") if key in call), "")
    return f"{as_text(name)}({as_text(given)})"
