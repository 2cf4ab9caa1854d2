"""Only pinned jars are installed, whole or not at all, with clear errors."""

import errno
import hashlib
from pathlib import Path

import pytest
import requests
from jgo.maven import Artifact

from infra.embedded import jars
from infra.embedded.service import StackError

GOOD = b"a jar"
SHA256 = hashlib.sha256(GOOD).hexdigest()


class Repository:
    """Answers for the network below `jgo`: writes `content` where jgo keeps files, or raises
    `error`.
    """

    def __init__(self, content: bytes = GOOD, error: Exception | None = None):
        self.content = content
        self.error = error
        self.asked = []

    def resolve(self, artifact: Artifact) -> Path:
        if artifact.cached_path.exists():
            return artifact.cached_path
        self.asked.append(f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}")
        if self.error and len(self.asked) > 1:
            raise self.error
        artifact.cached_path.parent.mkdir(parents=True, exist_ok=True)
        artifact.cached_path.write_bytes(self.content)
        return artifact.cached_path


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A set named "small" of three jars, and the repository that has them."""
    monkeypatch.setattr(jars, "PINS", tmp_path / "pins")
    monkeypatch.setattr(jars, "PAUSES_S", (0, 0))
    (tmp_path / "pins").mkdir()
    (tmp_path / "pins" / "small.txt").write_text(
        "".join(f"g:{name}:1.0 {SHA256}\n" for name in "abc")
    )
    there = Repository()
    monkeypatch.setattr(Artifact, "resolve", lambda artifact: there.resolve(artifact))
    return there


def test_a_set_is_fetched_once_and_progress_told(repository, tmp_path):
    told = []
    folder = jars.provide(
        "small", tmp_path / "jars", lambda done, total: told.append((done, total))
    )
    assert sorted(file.name for file in folder.iterdir()) == ["a-1.0.jar", "b-1.0.jar", "c-1.0.jar"]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert jars.provide("small", tmp_path / "jars") == folder
    assert len(repository.asked) == 3


def test_a_connection_that_breaks_now_and_then_is_tried_again(repository, tmp_path, monkeypatch):
    fine = repository.resolve
    tries = iter((True, True, False) * 3)

    def shaky(artifact):
        if next(tries):
            raise requests.ConnectionError("Temporary failure in name resolution")
        return fine(artifact)

    repository.resolve = shaky
    monkeypatch.setattr(jars, "AT_ONCE", 1)
    assert len([*jars.provide("small", tmp_path / "jars").iterdir()]) == 3


def test_a_wrong_file_is_refused_and_nothing_is_left(repository, tmp_path):
    repository.content = b"something else"
    with pytest.raises(
        StackError, match=r"g:.:1.0 is not the file that was pinned .* infra/embedded/pins"
    ):
        jars.provide("small", tmp_path / "jars")
    assert not (tmp_path / "jars" / "small").exists()
    assert not [file for file in (tmp_path / "jars").rglob("*.jar")]


def test_what_an_interruption_left_incomplete_is_fetched_again(repository, tmp_path):
    half = tmp_path / "jars" / "fetched" / "small" / "g" / "a" / "1.0" / "a-1.0.jar"
    half.parent.mkdir(parents=True)
    half.write_bytes(GOOD[:2])
    assert (jars.provide("small", tmp_path / "jars") / "a-1.0.jar").read_bytes() == GOOD


@pytest.mark.parametrize(
    "error, says",
    [
        (
            requests.ConnectionError("unreachable"),
            r"could not download small .* connect, then run the same command again",
        ),
        (RuntimeError("not found"), "could not download small"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    ],
)
def test_a_failure_is_one_sentence_and_the_next_try_goes_on(
    repository, tmp_path, monkeypatch, error, says
):
    monkeypatch.setattr(jars, "AT_ONCE", 1)
    repository.error = error
    with pytest.raises(StackError, match=says) as refusal:
        jars.provide("small", tmp_path / "jars")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "jars" / "small").exists()
    repository.error = None
    before = len(repository.asked)
    jars.provide("small", tmp_path / "jars")
    assert len(repository.asked) == before + 2


@pytest.mark.parametrize("name, count", [("kafka-4.3.1", 93), ("apicurio-3.3.3", 1)])
def test_every_pin_has_a_version_and_a_hash(name, count):
    pinned = jars.pins(name)
    assert len(pinned) == count
    for coordinate, sha256 in pinned.items():
        assert len(coordinate.split(":")) in (3, 5)
        assert len(bytes.fromhex(sha256)) == 32
