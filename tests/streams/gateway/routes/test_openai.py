"""Does the unmodified `openai` client work with the gateway: answers, streams, embeddings, lists,
mistakes?
"""

import asyncio

import httpx
import openai
import pytest

from schemas.definitions.kinds import Definitions
from schemas.definitions.limits import Limits
from schemas.events.agent.models import ModelAsked
from tests.streams.gateway.conftest import TENANT

ORDER = [{"role": "user", "content": "Where is order A-1001?"}]


@pytest.fixture
def client(app):
    """Runs `asked(openai client)` against the gateway."""

    def run(asked, **more):
        async def within():
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            http = httpx.AsyncClient(transport=transport, headers=TENANT)
            async with openai.AsyncOpenAI(
                api_key="none", base_url="http://gateway/v1", http_client=http, **more
            ) as made:
                return await asked(made)

        return asyncio.run(within())

    return run


def test_a_completion_is_a_run(client, link):
    said = client(
        lambda openai: openai.chat.completions.create(
            model="support",
            messages=ORDER,
            user="u-1",
            metadata={"session": "s1", "page": "/orders"},
        )
    )
    assert "A-1001" in said.choices[0].message.content and said.choices[0].finish_reason == "stop"
    assert said.usage.total_tokens == said.usage.prompt_tokens + said.usage.completion_tokens > 0
    [asked] = link.taken
    assert (asked.session, asked.user, asked.metadata) == ("s1", "u-1", {"page": "/orders"})
    assert said.id == f"chatcmpl-{asked.id.hex}"


def test_a_stream_says_the_same_and_what_it_took(client):
    async def asked(openai):
        stream = await openai.chat.completions.create(
            model="support", messages=ORDER, stream=True, stream_options={"include_usage": True}
        )
        return [chunk async for chunk in stream]

    *chunks, last = client(asked)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert (
        "A-1001" in text
        and chunks[-1].choices[0].finish_reason == "stop"
        and last.usage.total_tokens > 0
    )


def test_the_whole_conversation_may_come_each_time(client, link):
    said = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "I am Kim."},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello Kim."}]},
        *ORDER,
    ]
    heard = []
    send = link._local.send
    link._local.send = lambda *events: heard.extend(send(*events)) or heard
    client(lambda openai: openai.chat.completions.create(model="support", messages=said))
    first = next(event for event in heard if isinstance(event, ModelAsked))
    assert [m.content for m in first.messages[1:]] == [
        "Answer in French.",
        "I am Kim.",
        "Hello Kim.",
        ORDER[0]["content"],
    ]


def test_what_the_definition_decides_is_named(client):
    raw = client(
        lambda openai: openai.chat.completions.with_raw_response.create(
            model="support", messages=ORDER, temperature=0.1, max_tokens=5
        )
    )
    assert raw.headers["weir-ignored"] == "max_tokens,temperature" and raw.headers["weir-run"]


def test_what_a_policy_blocks_ends_with_content_filter(client):
    secret = [{"role": "user", "content": "My password: tR7vK2mX9pLq4ZsB8w, where is A-1001?"}]
    said = client(lambda openai: openai.chat.completions.create(model="support", messages=secret))
    assert said.choices[0].finish_reason == "content_filter" and said.choices[0].message.refusal


@pytest.mark.parametrize(
    "body, error, says",
    [
        ({"model": "nobody", "messages": ORDER}, openai.NotFoundError, "no agent 'nobody'"),
        (
            {"model": "support", "messages": [{"role": "assistant", "content": "x"}]},
            openai.UnprocessableEntityError,
            "user's",
        ),
        (
            {
                "model": "support",
                "messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}],
            },
            openai.UnprocessableEntityError,
            "role 'tool'",
        ),
        (
            {
                "model": "support",
                "messages": ORDER,
                "tools": [{"type": "function", "function": {"name": "x"}}],
            },
            openai.UnprocessableEntityError,
            "tools of its own",
        ),
        (
            {"model": "support", "messages": ORDER, "n": 2},
            openai.UnprocessableEntityError,
            "one answer",
        ),
        (
            {
                "model": "support",
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ],
            },
            openai.UnprocessableEntityError,
            "text only",
        ),
    ],
)
def test_a_mistake_is_the_clients_own_exception(client, body, error, says):
    with pytest.raises(error, match=says):
        client(lambda openai: openai.chat.completions.create(**body), max_retries=0)


def test_a_refusal_says_when_to_come_again(client, link):
    tenant = link.definitions.tenant("fernweh").model_copy(
        update={"burst": 1, "requests_per_minute": 1}
    )
    link.definitions = Definitions(
        {**link.definitions.bodies, ("tenant", "fernweh", 1): tenant}, link.definitions.newest
    )

    async def asked(openai):
        for _ in range(2):
            await openai.chat.completions.create(model="support", messages=ORDER)

    with pytest.raises(openai.RateLimitError) as refused:
        client(asked, max_retries=0)
    assert int(refused.value.response.headers["retry-after"]) >= 50

    async def streamed(openai):
        await openai.chat.completions.create(model="support", messages=ORDER, stream=True)

    with pytest.raises(openai.RateLimitError, match="requests a minute"):
        client(streamed, max_retries=0)


def test_a_run_that_fails_is_said_once_and_not_tried_again(client, link):
    agent = link.definitions.agent("support").model_copy(update={"limits": Limits(steps=1)})
    link.definitions = Definitions(
        {**link.definitions.bodies, ("agent", "support", 1): agent}, link.definitions.newest
    )
    with pytest.raises(openai.InternalServerError, match=r"limits\.steps"):
        client(
            lambda openai: openai.chat.completions.create(model="support", messages=ORDER),
            max_retries=2,
        )
    assert len(link.taken) == 1

    async def streamed(openai):
        async for _ in await openai.chat.completions.create(
            model="support", messages=ORDER, stream=True
        ):
            pass

    with pytest.raises(openai.APIError, match=r"limits\.steps"):
        client(streamed)


def test_agents_are_listed_as_models(client):
    async def asked(openai):
        return [model.id async for model in openai.models.list()], (
            await openai.models.retrieve("support")
        ).owned_by

    names, owner = client(asked)
    assert names == ["support"] and owner == "weir"
    with pytest.raises(openai.NotFoundError, match="GET /v1/models"):
        client(lambda openai: openai.models.retrieve("nobody"))


def test_embeddings_are_the_knowledges_own(client):
    said = client(
        lambda openai: openai.embeddings.create(
            model="local", input=["a rain jacket", "a waterproof coat", "tax"]
        )
    )
    near, far = (
        sum(a * b for a, b in zip(said.data[0].embedding, said.data[n].embedding, strict=True))
        for n in (1, 2)
    )
    assert len(said.data[0].embedding) == 384 and near > far
    assert said.usage.prompt_tokens == said.usage.total_tokens == (3 + 2) + (4 + 2) + (1 + 2), (
        "pieces of words, and two marks"
    )
    with pytest.raises(openai.UnprocessableEntityError, match="send the text itself"):
        client(lambda openai: openai.embeddings.create(model="local", input=[1, 2, 3]))
