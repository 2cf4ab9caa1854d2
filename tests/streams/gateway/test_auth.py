"""Is a caller who its key says, able to do what the key allows, and nobody without one?"""

from datetime import timedelta

import pytest

from schemas.definitions.kinds import Definitions
from streams.config import Settings
from streams.engine.client import now
from streams.gateway.auth import KEY_FORM, needs_keys, new_key

ORDER = {"agent": "support", "text": "Where is order A-1001?"}


@pytest.fixture
def key(link):
    """Makes a key that is in force: `key("request")` gives its text."""

    def add(*scopes, **more):
        text, key = new_key("k1", "fernweh", scopes, **more)
        bodies = {**link.definitions.bodies, ("key", "k1", 1): key}
        link.definitions = Definitions(bodies, {**link.definitions.newest, ("key", "k1"): 1})
        return text

    return add


def test_the_tenant_is_the_keys_whatever_the_header_says(http, key, link):
    text = key("request", "read")
    taken = http(
        lambda client: client.post(
            "/v1/requests",
            json=ORDER,
            headers={"Authorization": f"Bearer {text}", "weir-tenant": "fernweh-outlet"},
        )
    )
    assert taken.status_code == 202 and link.taken[0].tenant == "fernweh"


def test_anthropics_header_is_as_good(http, key):
    assert (
        http(
            lambda client: client.get("/v1/models", headers={"x-api-key": key("request")})
        ).status_code
        == 200
    )


@pytest.mark.parametrize(
    "scopes, method, path, status",
    [
        (("read",), "POST", "/v1/requests", 403),
        (("request",), "GET", "/v1/runs/00000000-0000-0000-0000-000000000001", 403),
        (("request", "read"), "POST", "/v1/feedback", 403),
        (("admin",), "POST", "/v1/requests", 202),
    ],
)
def test_a_key_may_do_what_its_scopes_say(http, key, scopes, method, path, status):
    body = {
        "json": ORDER
        if path == "/v1/requests"
        else {"run": "00000000-0000-0000-0000-000000000001", "score": 1}
    }
    more = {} if method == "GET" else body
    done = http(
        lambda client: client.request(
            method, path, headers={"Authorization": f"Bearer {key(*scopes)}"}, **more
        )
    )
    assert done.status_code == status
    if status == 403:
        assert done.json()["code"] == "no_scope" and "--scope" in done.json()["detail"]


def test_a_wrong_secret_an_unknown_name_and_a_revoked_key_are_told_the_same(http, key, link):
    text = key("request")
    wrong = text[:-4] + ("0000" if text[-4:] != "0000" else "1111")
    given = [wrong, text.replace("weir_k1_", "weir_k2_")]
    told = [
        http(
            lambda client, one=one: client.get(
                "/v1/models", headers={"Authorization": f"Bearer {one}"}
            )
        )
        for one in given
    ]
    link.definitions = Definitions(
        link.definitions.bodies, link.definitions.newest, frozenset({("key", "k1")})
    )
    told.append(
        http(lambda client: client.get("/v1/models", headers={"Authorization": f"Bearer {text}"}))
    )
    assert {
        (one.status_code, one.json()["detail"], one.headers["www-authenticate"]) for one in told
    } == {(401, told[0].json()["detail"], "Bearer")}


def test_an_expired_key_says_so(http, key):
    text = key("request", expires=now() - timedelta(seconds=1))
    done = http(
        lambda client: client.get("/v1/models", headers={"Authorization": f"Bearer {text}"})
    )
    assert (done.status_code, done.json()["code"]) == (401, "expired_key")


def test_without_a_key_a_tenant_has_to_be_named_and_only_on_this_machine(http, settings):
    assert (
        http(lambda client: client.get("/v1/models", headers={"weir-tenant": ""})).json()["code"]
        == "no_tenant"
    )
    object.__setattr__(settings, "gateway_keys", True)
    assert http(lambda client: client.get("/v1/models")).json()["code"] == "no_key"
    told = http(
        lambda client: client.get("/v1/models", headers={"Authorization": "Bearer sk-something"})
    )
    assert told.json()["code"] == "bad_key"


@pytest.mark.parametrize(
    "more, needed",
    [
        ({}, False),
        ({"gateway_host": "::1"}, False),
        ({"gateway_host": "0.0.0.0"}, True),
        ({"gateway_keys": True}, True),
        ({"kafka": {"bootstrap.servers": "broker:9092"}}, True),
    ],
)
def test_keys_are_optional_only_here(more, needed):
    assert needs_keys(Settings(**more)) is needed


def test_what_is_kept_of_a_key_is_not_the_key():
    text, kept = new_key("acme-1", "acme", ("request",))
    assert KEY_FORM.fullmatch(text) and text.split("_")[2] not in kept.model_dump_json()
    assert new_key("acme-1", "acme", ("request",))[0] != text
