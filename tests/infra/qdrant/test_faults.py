"""The embedded Qdrant loses no write by SIGKILL, and starts and stops cleanly."""

import importlib.metadata
import json
import urllib.request

import pytest
from qdrant_client import QdrantClient, models

from infra.embedded.qdrant import engine
from infra.embedded.qdrant import server as qdrant
from infra.embedded.qdrant.filters import RequestRejectedError
from infra.embedded.testing_servers import running_qdrant, start, stop

pytestmark = pytest.mark.engine
DENSE = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}


def unchecked(url):
    """A client that does not ask for the version in a thread: a server about to be killed may not
    answer.
    """
    return QdrantClient(url=url, check_compatibility=False)


def test_kill_9_loses_no_acknowledged_write(tmp_path):
    """Killed three times in the middle of writing: each write that was answered is there."""
    server = start(qdrant, tmp_path)
    acknowledged = []
    try:
        client = unchecked(server.url)
        client.create_collection("kept", vectors_config=DENSE)
        client.create_payload_index("kept", "n", "integer")
        for kill in range(3):
            client = unchecked(server.url)
            for n in range(kill * 300, kill * 300 + 300, 10):
                client.upsert(
                    "kept",
                    [
                        models.PointStruct(id=i, vector={"dense": [1.0, 0, 0, i]}, payload={"n": i})
                        for i in range(n, n + 10)
                    ],
                )
                acknowledged += range(n, n + 10)
            client.delete("kept", points_selector=[kill * 300])
            acknowledged.remove(kill * 300)
            server.kill()
            server = start(qdrant, tmp_path)
            client = unchecked(server.url)
            found, _ = client.scroll("kept", limit=2000, order_by="n")
            assert [each.payload["n"] for each in found] == acknowledged
    finally:
        server.kill()


def test_a_half_made_collection_is_swept_away_and_sigterm_ends_with_0(tmp_path):
    half = tmp_path / "collections" / "half"
    (half / "shard").mkdir(parents=True)
    server = start(qdrant, tmp_path)
    client = unchecked(server.url)
    assert client.get_collections().collections == [] and not half.exists()
    client.create_collection("half", vectors_config=DENSE)
    client.upsert("half", [models.PointStruct(id=1, vector={"dense": [1.0, 0, 0, 0]})])
    assert stop(server) == 0
    with running_qdrant(tmp_path) as url:
        assert unchecked(url).count("half").count == 1


def test_a_second_owner_is_told_in_one_sentence(tmp_path):
    server = start(qdrant, tmp_path)
    try:
        with pytest.raises(
            RuntimeError, match=rf"owned by another process \(pid {server.process.pid}\)"
        ):
            start(qdrant, tmp_path)
    finally:
        stop(server)


def test_a_full_disk_is_told_before_the_engine_would_die_of_it(tmp_path, monkeypatch):
    collections = engine.Collections(tmp_path)
    collections.create("a", {"vectors": {"size": 4, "distance": "Dot"}})
    monkeypatch.setattr(engine, "FREE_BYTES", 2**62)
    for write in (
        lambda: collections.create("b", {"vectors": {"size": 4, "distance": "Dot"}}),
        lambda: collections["a"].apply([]),
    ):
        with pytest.raises(RequestRejectedError, match="free some disk space"):
            write()
    assert collections.names() == ["a"]
    collections.close()


def test_it_tells_its_health_sizes_and_a_version_that_suits_the_client(tmp_path):
    with running_qdrant(tmp_path) as url:
        unchecked(url).create_collection("sized", vectors_config=DENSE)
        for path in ("/healthz", "/readyz", "/livez"):
            assert urllib.request.urlopen(url + path).status == 200
        assert (
            'collection_points{id="sized"} 0'
            in urllib.request.urlopen(url + "/metrics").read().decode()
        )
        told = json.load(urllib.request.urlopen(url))["version"].split(".")
        ours = importlib.metadata.version("qdrant-client").split(".")
        assert told[0] == ours[0] and abs(int(told[1]) - int(ours[1])) <= 1
