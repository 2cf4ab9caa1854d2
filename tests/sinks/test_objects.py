"""Is what was put there again, under its tenant and nowhere else, until it is swept or erased?"""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from schemas.wire.large_bodies import MissingBodyError, ObjectStoreError, body_of, folder_of, key_of
from sinks.objects import ObjectStore


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return ObjectStore(
        f"memory://{uuid4()}" if request.param == "memory" else str(tmp_path / "objects")
    )


def put(store, tenant="acme", text="a long result"):
    body, data = body_of(tenant, text)
    store.put(body.key, data)
    return body


def test_what_was_put_comes_back_and_is_kept_once(store):
    body = put(store)
    put(store)
    assert store.get(body.key) == b"a long result"
    assert [(one.key, one.bytes) for one in store.list_objects()] == [(body.key, 13)]
    assert body.media_type == "text/plain" and body.head == "a long result"


def test_what_is_gone_changed_or_too_large_is_said_so(store):
    body = put(store)
    with pytest.raises(MissingBodyError, match="more than 5 bytes"):
        store.get(body.key, bytes_max=5)
    system, root = store._root
    system.pipe_file(f"{root}/{body.key}", b"something else")
    with pytest.raises(MissingBodyError, match="is not what was put there"):
        store.get(body.key)
    store.remove([*store.list_objects()])
    with pytest.raises(MissingBodyError, match="there is no object"):
        store.get(body.key)
    store.remove([*store.list_objects()])
    assert [*store.list_objects()] == [*store.list_objects("acme")] == []


def test_one_that_a_crash_left_half_is_written_anew(store):
    body = put(store)
    system, root = store._root
    system.pipe_file(f"{root}/{body.key}", b"a lo")
    again = ObjectStore(store._url)
    again.put(body.key, b"a long result")
    assert again.get(body.key) == b"a long result"


def test_what_is_named_again_stays_as_long_as_its_newest_event(store):
    body = put(store)
    [first] = store.list_objects()
    ObjectStore(store._url, fresh=timedelta(0)).put(body.key, b"a long result")
    [second] = store.list_objects()
    assert second.at > first.at and datetime.now(UTC) - second.at < timedelta(minutes=1)


@pytest.mark.parametrize("tenant", ["acme", "..", ".", "a b%", "x" * 200, "🏔" * 200, "~", "%~00"])
def test_a_tenant_has_a_folder_of_its_own_whatever_its_name_is(store, tenant):
    put(store, "other")
    mine = put(store, tenant)
    assert [one.key for one in store.list_objects(tenant)] == [mine.key]
    assert (
        "/" not in folder_of(tenant)
        and len(folder_of(tenant)) < 200
        and not folder_of(tenant).startswith(".")
    )
    store.remove([*store.list_objects(tenant)])
    assert [one.key for one in store.list_objects()] == [key_of("other", mine.sha256)]


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "tenant=a/../../x"])
def test_a_key_leads_nowhere_else(store, key):
    with pytest.raises(MissingBodyError):
        store.get(key)


@pytest.mark.parametrize(
    "url, words", [("s4://bucket", "WEIR_OBJECTS"), ("/proc/objects", "cannot be asked")]
)
def test_a_store_that_cannot_be_used_says_so(url, words):
    with pytest.raises(ObjectStoreError, match=words):
        put(ObjectStore(url))


def test_a_password_in_its_address_is_not_told():
    with pytest.raises(ObjectStoreError) as away:
        put(ObjectStore("s4://mara:sesame@bucket/x"))
    assert "sesame" not in str(away.value) and "bucket" in str(away.value)
