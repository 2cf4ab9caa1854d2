"""One whole stack for the contract tests, with scripted services that fail on purpose."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from schemas.definitions.base import Definition
from schemas.definitions.kinds import Agent, Model, Tenant, Tool
from schemas.definitions.limits import Limits
from schemas.wire.codec import Codec
from streams import app
from streams.config import Settings
from streams.definitions.folder import Company
from streams.engine.client import Client
from streams.lab.isolated_stack import own_settings
from streams.operations.connections import codec_of
from streams.operations.deploy import apply_and_wait
from tests.support.containers import servers
from tests.support.model_faults import FAULTS, Faulty, faulty

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ORDER = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
FAULTS_OF_MODELS = (
    "garbage",
    "html",
    "500",
    "hang",
    "null_choices",
    "blank",
    "not_json",
    "oversize",
    "401",
)


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("containers", marks=pytest.mark.docker)]
)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """All workers, as `./weir up` starts them: on the embedded engines, and on real servers where
    Docker is there.
    """
    home = tmp_path_factory.mktemp("stack")
    quick = {"idle_close_s": 1.0, "sink_age_s": 0.3}
    with contextlib.ExitStack() as opened:
        settings = (
            own_settings(home, **quick)
            if request.param == "embedded"
            else opened.enter_context(servers(home, **quick))
        )
        os.environ["TESTS_WEBHOOK"] = WEBHOOK_SECRET  # the call runners resolve it where they run
        opened.callback(os.environ.pop, "TESTS_WEBHOOK")
        app.start(settings, lambda done, total, words: None)
        opened.callback(app.stop, settings)
        yield settings


@pytest.fixture(scope="session")
def codec(stack: Settings) -> Codec:
    return codec_of(stack)


@pytest.fixture(scope="session")
def world(stack: Settings) -> Iterator[Faulty]:
    """A server with a path a fault, and definitions of a tenant whose agents meet each of them."""
    with faulty() as made:
        apply_and_wait(stack, Company(definitions(made.url), ()))
        yield made


@pytest.fixture(scope="session")
def client(stack: Settings, codec: Codec, world: Faulty) -> Iterator[Client]:
    with Client(stack, codec) as made:
        yield made


def definitions(url: str) -> list[Definition]:
    models = [
        Model(
            name=fault,
            provider="faulty",
            base_url=f"{url}/{fault}",
            upstream="stub",
            timeout_ms=1_500,
        )
        for fault in FAULTS
        if fault in FAULTS_OF_MODELS or fault == "good"
    ]
    models.append(
        Model(
            name="hang",
            provider="faulty",
            base_url=f"{url}/hang",
            upstream="stub",
            timeout_ms=1_500,
        )
    )
    agents = [
        Agent(
            name=f"asks-{model.name}".replace("_", "-"),
            prompt="Help.",
            model=model.name,
            limits=Limits(seconds=60),
        )
        for model in models
    ]
    agents.append(Agent(name="falls-back", prompt="Help.", model="500", fallback=("good",)))
    tools = [
        Tool(name=name, url=f"{url}/{name}", parameters=ORDER, effect="pure", timeout_ms=1_500)
        for name in ("html", "oversize")
    ]
    return [
        Tenant(name="acme", requests_per_minute=100_000, burst=10_000, request_chars=100_000),
        Tenant(name="tight", requests_per_minute=1, burst=1),
        *models,
        *agents,
        *tools,
    ]
