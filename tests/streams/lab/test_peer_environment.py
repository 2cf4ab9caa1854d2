"""A peer's environment is made once and whole; errors say what to do."""

import subprocess
from pathlib import Path

import pytest

from streams.lab.peer_environment import PeerError, provide


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def requirements(home: Path, text: str) -> Path:
    path = home / "peer.txt"
    path.write_text(text)
    return path


def test_an_environment_is_made_once_and_sees_what_weir_has(home: Path):
    said: list[str] = []
    made = provide(home, requirements(home, "# nothing\n"), said.append, with_weir=True)
    assert made == home / "peers" / "peer" and said[0] == "peer: making an environment"
    subprocess.run([made / "bin" / "python", "-c", "import pydantic"], check=True)
    said.clear()
    assert provide(home, requirements(home, "# nothing\n"), said.append, with_weir=True) == made
    assert said == []


def test_what_cannot_be_installed_is_said_and_tried_again(home: Path):
    wrong = requirements(home, "./is-not-there\n")
    for _ in range(2):
        with pytest.raises(PeerError, match=r"peer could not be installed: .* the log is .*log"):
            provide(home, wrong, lambda words: None)
