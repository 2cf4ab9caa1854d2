"""A key is printed once, listed without its secret, and gone once revoked."""

import json

import pytest
from typer.testing import CliRunner

from schemas.definitions.kinds import Definitions, Tenant
from streams.cli.operate import keys as command
from streams.engine import definitions_topic
from streams.engine.errors import UserError
from streams.gateway.auth import KEY_FORM, hash_of


@pytest.fixture
def weir(monkeypatch):
    """Runs `weir keys …` over definitions in memory; `weir.definitions` are those in force."""

    class Weir:
        definitions = Definitions.of(Tenant(name="fernweh"))

        def __call__(self, *arguments, code=0):
            done = CliRunner().invoke(command.keys, arguments)
            assert done.exit_code == code, done.output
            if isinstance(done.exception, UserError):
                raise done.exception
            return done.stdout

        def publish(self, settings, codec, changes):
            self.definitions = self.definitions.having(changes)

    made = Weir()
    monkeypatch.setattr(command, "codec_of", lambda settings: None)
    monkeypatch.setattr(definitions_topic, "read_all", lambda settings, codec: made.definitions)
    monkeypatch.setattr(definitions_topic, "publish", made.publish)
    return made


def test_a_key_is_printed_once_listed_without_its_secret_and_revoked(weir):
    printed = (
        weir("add", "--tenant", "fernweh", "--scope", "request", "--name", "shop", "--role", "lead")
        .strip()
        .splitlines()[-1]
    )
    name, secret = KEY_FORM.fullmatch(printed).groups()
    kept = weir.definitions.key(name)
    assert name == "shop" and kept.sha256 == hash_of(kept.salt, secret) and kept.roles == ("lead",)
    listed = weir("list", "--json")
    assert json.loads(listed.splitlines()[-1])[0]["scopes"] == ["request"] and secret not in listed
    assert kept.sha256 not in listed
    weir("revoke", "shop")
    assert (
        weir.definitions.key("shop") is None
        and json.loads(weir("list", "--json").splitlines()[-1]) == []
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("add", "--tenant", "nobody"), "no tenant 'nobody'"),
        (("revoke", "nothing"), "weir keys list"),
        (("add", "--tenant", "fernweh", "--scope", "everything"), "no scope"),
    ],
)
def test_a_mistake_says_what_to_do(weir, arguments, says):
    with pytest.raises(UserError, match=says):
        weir(*arguments, code=1)


def test_a_name_is_given_once(weir):
    weir("add", "--tenant", "fernweh", "--name", "shop")
    with pytest.raises(UserError, match="revoke it"):
        weir("add", "--tenant", "fernweh", "--name", "shop", code=1)
