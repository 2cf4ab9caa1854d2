"""Python environments of the benchmarks' peers, each made on first use and pinned by a file.

An environment lies in the home folder under `peers`. It carries a stamp, written last: the digest
of its requirements. Without it (never made, interrupted, outdated) the environment is made anew.
"""

import hashlib
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from streams.engine.errors import UserError

STAMP = "requirements-digest"


class PeerError(UserError):
    """A peer's environment could not be made; the text says what to do."""


def provide(
    home: Path, requirements: Path, say: Callable[[str], None], with_weir: bool = False
) -> Path:
    """The folder of a peer's environment, named as its requirements file. Raises PeerError.

    `with_weir` lets it import the packages of Weir's environment too, behind its own.
    """
    folder = home / "peers" / requirements.stem
    wanted = hashlib.sha256(requirements.read_bytes() + bytes([with_weir])).hexdigest()
    stamp = folder / STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    say(f"{requirements.stem}: making an environment")
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], folder, say, requirements.stem)
    install = ["-m", "pip", "install", "--no-input", "--no-compile", "-r", str(requirements)]
    _run([str(folder / "bin" / "python"), *install], folder, say, requirements.stem)
    if with_weir:
        own = folder / sysconfig.get_path("purelib", vars={"base": ""}).lstrip("/")
        (own / "weir.pth").write_text(sysconfig.get_path("purelib") + "\n")
    stamp.write_text(wanted)
    return folder


def _run(command: list[str], folder: Path, say: Callable[[str], None], name: str) -> None:
    """Run a step of an installation with a line of progress; its output goes to a log."""
    log = folder.with_suffix(".log")
    began = time.monotonic()
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        while process.poll() is None:
            packages = sum(1 for _ in folder.glob("lib/python*/site-packages/*.dist-info"))
            say(f"{name}: installing, {packages} packages, {time.monotonic() - began:.0f} s")
            time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise PeerError(
            f"{name} could not be installed: connect to a registry of Python packages, free disk "
            f"space, then try again; the log is {log}"
        )
