"""Requests of chat clients: which text is the request, and what came before it.

The last message is the request, and has to be a user's. Those before it are the run's history: they
count where the session is new, so a client that sends the whole conversation each time, as these
protocols do, needs no session; one that names a session has its history, results of tools included,
stored here. A system message follows the agent's own prompt.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, unquote

from fastapi import Request

from schemas.events.values import Message
from streams.gateway.auth import Caller
from streams.gateway.context import Gateway
from streams.gateway.errors import ProblemError
from streams.gateway.runs import submit
from streams.gateway.runs.results import SubmittedRun

ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
TEXT_PARTS = {"text", "input_text", "output_text"}
HERE = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "n",
    "input",
    "instructions",
    "system",
    "previous_response_id",
    "conversation",
    "store",
    "modalities",
}
"""The fields of a chat request that count; the agent's definition decides the rest."""
PLAIN = " !\"#$&'()*+,/:;<=>?@[]^`{|}"
"""What stands in a header as it is, beside letters and digits."""
NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Names of parameters, as a header may hold them."""


def text_of(content: Any, where: str) -> str:
    """The text of a message's content. Raises ProblemError for an image, or anything else that is
    not text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ProblemError(
            422, "invalid_request", f"{where} is neither text nor a list of parts: send text"
        )
    said = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if (
            not isinstance(kind, str)
            or kind not in TEXT_PARTS
            or not isinstance(part.get("text"), str)
        ):
            raise ProblemError(
                422, "not_text", f"{where} has a part of type {kind!r}: agents take text only"
            )
        said.append(part["text"])
    return "\n".join(said)


def split(messages: Iterable[Any], before: str = "") -> tuple[str, list[dict[str, Any]]]:
    """The request, and what came before it. `before` is a system text that stands apart from the
    messages.
    """
    said: list[Message] = [Message(role="system", content=before)] if before else []
    for nth, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            raise ProblemError(
                422,
                "bad_role",
                f"messages.{nth} has the role {role!r}: use {', '.join(ROLES)}; tools are "
                "called by the agent itself, and their results are kept here",
            )
        text = text_of(message.get("content"), f"messages.{nth}.content")
        if text:
            said.append(Message(role=ROLES[role], content=text))
    if not said or said[-1].role != "user":
        raise ProblemError(
            422,
            "nothing_asked",
            "the last message has to be a user's, with text: it is what is asked",
        )
    *history, asked = said
    return asked.content or "", [message.model_dump() for message in history]


def ignored(body: dict[str, Any]) -> dict[str, str]:
    """A header that names the parameters that the agent's definition decides instead."""
    names = sorted(
        name
        for name, value in body.items()
        if name not in HERE and value is not None and NAME.fullmatch(name)
    )
    return {"weir-ignored": ",".join(names)[:1_000]} if names else {}


def check(body: dict[str, Any]) -> None:
    """Raises ProblemError for parameters that must not be ignored."""
    if body.get("tools") or body.get("functions"):
        raise ProblemError(
            422,
            "tools_are_the_agents",
            "an agent has tools of its own: take `tools` out of the request, and "
            "put them into the agent's definition (`weir apply`)",
        )
    if (body.get("n") or 1) != 1:
        raise ProblemError(
            422, "one_answer", "a run has one answer: leave `n` out, and ask again for another"
        )


@dataclass(frozen=True)
class ChatRequest:
    """What a chat client asks, whatever its protocol. `session` is the one to go on with; empty
    where a header or the metadata may name one.
    """

    agent: str
    text: str
    history: list[dict[str, Any]]
    user: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    session: str = ""


async def submit_chat(
    gateway: Gateway, request: Request, caller: Caller, chat: ChatRequest
) -> SubmittedRun:
    """Submits the run of a chat client's request."""
    metadata = dict(chat.metadata)
    header = unquote(request.headers.get("weir-session", ""))
    session = chat.session or header or metadata.pop("session", "")
    body = {
        "agent": chat.agent,
        "text": chat.text,
        "history": chat.history,
        "user": chat.user,
        "session": session,
        "metadata": metadata,
        "channel": request.headers.get("weir-channel"),
    }
    return await submit.submit(gateway, request, caller, body)


def run_headers(asked: SubmittedRun) -> dict[str, str]:
    """The headers that name run and session. A session may have any letters and a header has ASCII
    only: other letters are encoded as in a URL, and decoded when they are read.
    """
    return {"weir-run": str(asked.run), "weir-session": quote(asked.session, safe=PLAIN)}
