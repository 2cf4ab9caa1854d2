"""A protocol is found by the providers that it names."""

from pathlib import Path

import pytest

from schemas.ports import ChatQuestion, Endpoint
from sinks.models import protocols
from sinks.models.attempt import outgoing_request
from sinks.models.protocols import protocol_of
from tests.support.seams import extended

PLAIN = '''"""A protocol of plain prompts."""

from sinks.models.protocols.openai import CompletionStream


class Plain:
    """The protocol."""

    providers = ("plain",)
    path = "/prompt"
    stream = CompletionStream

    def headers(self, key):
        return {"x-key": key}

    def request_body(self, endpoint, question):
        return {"model": endpoint.upstream}

    def answer_of(self, body):
        return body


PROTOCOL = Plain()
'''


@pytest.fixture
def plain(tmp_path: Path):
    (tmp_path / "plain.py").write_text(PLAIN)
    protocols.protocols.cache_clear()
    with extended(protocols, tmp_path):
        yield
    protocols.protocols.cache_clear()


def test_a_new_file_is_a_protocol(plain):
    endpoint = Endpoint("m", "plain", "http://models/v1/", "large", "env:KEY")
    question = ChatQuestion((endpoint,), (), (), None, None, 1_000, "k")
    made = outgoing_request(endpoint, question, {"env:KEY": "sesame"}.__getitem__)
    assert (made.url, made.content) == ("http://models/v1/prompt", b'{"model": "large"}')
    assert made.headers["x-key"] == "sesame"


@pytest.mark.parametrize(
    ("provider", "path"),
    [("anthropic", "/messages"), ("openai", "/chat/completions"), ("plain", "/chat/completions")],
)
def test_a_provider_without_a_protocol_speaks_chat_completions(provider, path):
    assert protocol_of(provider).path == path
