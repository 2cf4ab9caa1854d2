"""Do the unmodified clients of OpenAI's responses and Anthropic's messages work with the gateway?"""

import asyncio

import anthropic
import httpx
import httpx2
import openai
import pytest

from schemas.events.agent.models import ModelAsked
from tests.streams.gateway.conftest import TENANT

QUESTION = "Where is order A-1001?"
ORDER = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def run(app):
    """Runs `asked(client)` with a client of the given class."""

    def within(kind, asked, **more):
        async def inside():
            lib = httpx if kind is openai.AsyncOpenAI else httpx2  # each client's own
            http = lib.AsyncClient(
                transport=lib.ASGITransport(app=app, raise_app_exceptions=False), headers=TENANT
            )
            base = "http://gateway/v1" if kind is openai.AsyncOpenAI else "http://gateway"
            async with kind(
                api_key="none", base_url=base, http_client=http, max_retries=0, **more
            ) as client:
                return await asked(client)

        return asyncio.run(inside())

    return within


def test_a_response_goes_on_with_the_one_before(run, link):
    heard = []
    send = link._local.send
    link._local.send = lambda *events: heard.extend(more := send(*events)) or more

    async def asked(client):
        first = await client.responses.create(
            model="support", input=QUESTION, instructions="Be kind."
        )
        second = await client.responses.create(
            model="support", input=ORDER, previous_response_id=first.id
        )
        return first, second, await client.responses.retrieve(second.id)

    first, second, again = run(openai.AsyncOpenAI, asked)
    assert (
        "A-1001" in first.output_text
        and first.status == "completed"
        and first.usage.total_tokens > 0
    )
    assert (
        link.taken[1].session == str(link.taken[0].id) and second.previous_response_id == first.id
    )
    assert again.output_text == second.output_text
    asked_of_model = [event for event in heard if isinstance(event, ModelAsked)]
    assert asked_of_model[0].messages[1].content == "Be kind."
    assert "tool" in {message.role for message in asked_of_model[-1].messages[:6]}, (
        "the session kept what tools said"
    )


def test_a_response_is_streamed_in_the_protocols_events(run):
    async def asked(client):
        async with client.responses.stream(model="support", input=QUESTION) as stream:
            kinds = [event.type async for event in stream]
            return kinds, await stream.get_final_response()

    kinds, final = run(openai.AsyncOpenAI, asked)
    assert (kinds[0], kinds[-1]) == (
        "response.created",
        "response.completed",
    ) and "response.output_text.delta" in kinds
    assert "A-1001" in final.output_text


def test_a_response_that_a_policy_withholds_says_so_in_its_stream(run):
    async def asked(client):
        stream = await client.responses.create(
            model="support", input="My password: tR7vK2mX9pLq4ZsB8w", stream=True
        )
        return [event async for event in stream]

    *_, refusal, _, _, last = run(openai.AsyncOpenAI, asked)
    assert (refusal.type, last.type) == ("response.refusal.done", "response.incomplete")
    assert last.response.output[0].content[0].refusal == refusal.refusal != ""


@pytest.mark.parametrize(
    "body, error, says",
    [
        (
            {"model": "support", "input": QUESTION, "previous_response_id": "resp_x"},
            openai.NotFoundError,
            "resp_x",
        ),
        ({"model": "support", "input": []}, openai.UnprocessableEntityError, "last message"),
        (
            {"model": "support", "input": QUESTION, "tools": [{"type": "web_search"}]},
            openai.UnprocessableEntityError,
            "tools",
        ),
        ({"model": "nobody", "input": QUESTION}, openai.NotFoundError, "nobody"),
    ],
)
def test_a_wrong_response_is_the_clients_own_exception(run, body, error, says):
    with pytest.raises(error, match=says):
        run(openai.AsyncOpenAI, lambda client: client.responses.create(**body))


def test_a_message_is_a_run(run, link):
    said = run(
        anthropic.AsyncAnthropic,
        lambda client: client.messages.create(
            model="support",
            max_tokens=100,
            messages=ORDER,
            system="Be kind.",
            metadata={"user_id": "u-1"},
        ),
    )
    assert (
        "A-1001" in said.content[0].text
        and said.stop_reason == "end_turn"
        and said.usage.output_tokens > 0
    )
    assert link.taken[0].user == "u-1" and link.taken[0].history[0].content == "Be kind."


def test_messages_are_streamed_in_the_protocols_events(run):
    async def asked(client):
        async with client.messages.stream(
            model="support", max_tokens=100, messages=ORDER
        ) as stream:
            text = "".join([part async for part in stream.text_stream])
            return text, await stream.get_final_message()

    text, final = run(anthropic.AsyncAnthropic, asked)
    assert "A-1001" in text == final.content[0].text and final.stop_reason == "end_turn"
    assert final.usage.input_tokens > 0


def test_mistakes_and_refusals_are_the_clients_own_exceptions(run):
    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        run(
            anthropic.AsyncAnthropic,
            lambda client: client.messages.create(model="nobody", max_tokens=9, messages=ORDER),
        )
    secret = [{"role": "user", "content": "My password: tR7vK2mX9pLq4ZsB8w, where is A-1001?"}]
    said = run(
        anthropic.AsyncAnthropic,
        lambda client: client.messages.create(model="support", max_tokens=9, messages=secret),
    )
    assert said.stop_reason == "refusal"

    async def withheld(client):
        async with client.messages.stream(model="support", max_tokens=9, messages=secret) as stream:
            return await stream.get_final_message()

    assert run(anthropic.AsyncAnthropic, withheld).content[0].text == said.content[0].text != ""

    async def streamed(client):
        async with client.messages.stream(model="nobody", max_tokens=9, messages=ORDER) as stream:
            return [event async for event in stream]

    with pytest.raises(anthropic.NotFoundError, match="nobody"):
        run(anthropic.AsyncAnthropic, streamed)


def test_agents_are_listed_for_both(run):
    async def asked(client):
        return [model.id async for model in client.models.list()]

    assert run(anthropic.AsyncAnthropic, asked) == run(openai.AsyncOpenAI, asked) == ["support"]
