"""Fetches the jars of the broker and the registry, and verifies each against its pinned SHA-256.

`pins/<set>.txt` lists a set: a coordinate and the SHA-256 of its file a line. `jgo` fetches each
coordinate by itself (its transitive resolution picks versions that do not fit together), eight at a
time; 93 jars of the broker take about 10 s, the registry's one archive of 159 MB about 3 s.

A set becomes visible whole or not at all: it is gathered in a folder beside its final one, which is
renamed at the end. What was fetched before an interruption is kept and checked again, so a second
try goes on where the first stopped.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from infra.embedded.service import StackError

PINS = Path(__file__).parent / "pins"
AT_ONCE = 8
PAUSES_S = (0.5, 1.0, 2.0, 4.0)
Progress = Callable[[int, int], None]


def quiet(done: int, total: int) -> None:
    """The progress of a caller who does not ask for any."""


def pins(name: str) -> dict[str, str]:
    """Coordinate to SHA-256 of the set `name`, e.g. {"org.slf4j:slf4j-api:1.7.36": "d3ef…"}."""
    lines = (PINS / f"{name}.txt").read_text().splitlines()
    return dict(line.split() for line in lines if line)


def provide(name: str, home: Path, progress: Progress = quiet) -> Path:
    """The folder with the files of the set `name` under `home`, fetched first where it is not there
    yet.

    Archives (.tar.gz) are unpacked in it. Of two processes that ask at once one waits. Raises
    StackError without a network, for a file that is not the pinned one, and for a full disk;
    nothing half-done is taken for the whole.
    """
    final = home / name
    if final.is_dir():
        return final
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not final.is_dir():  # else another process fetched it while this one waited
                _gather(_fetch(name, pins(name), home / "fetched" / name, progress), final)
                shutil.rmtree(home / "fetched" / name, ignore_errors=True)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StackError(
                f"the disk is full: free 1 GB where {home} is, then try again"
            ) from error
        raise
    return final


def _fetch(name: str, wanted: dict[str, str], cache: Path, progress: Progress) -> list[Path]:
    files, progress_of = [], len(wanted)
    progress(0, progress_of)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [
            pool.submit(fetch_one, coordinate, sha256, cache)
            for coordinate, sha256 in wanted.items()
        ]
        try:
            for job in as_completed(jobs):
                files.append(job.result())
                progress(len(files), progress_of)
        except (OSError, RuntimeError) as error:
            pool.shutdown(cancel_futures=True)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise StackError(
                f"could not download {name} ({len(files)} of {progress_of} are here): first use "
                "needs a "
                "network or a mirror of the Java package registry; connect, then run the same "
                "command again"
            ) from error
        except StackError:
            pool.shutdown(cancel_futures=True)
            raise
    return files


def fetch_one(coordinate: str, sha256: str, cache: Path) -> Path:
    """The checked file of group:artifact:version[:classifier:packaging]; StackError if it is
    another.
    """
    # Imported late: it is slow, and needed once in a machine's life.
    from jgo.maven import MavenContext

    group, artifact, version, *rest = coordinate.split(":")
    classifier, packaging = rest or ("", "jar")
    wanted = MavenContext(repo_cache=cache).project(group, artifact).at_version(version)
    found = ""
    for _ in range(2):  # a file that an interrupted run left incomplete is fetched once more
        held = wanted.artifact(classifier, packaging)
        before = held.cached_path is not None and held.cached_path.exists()
        file = _resolved(held)
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found == sha256:
            return file
        file.unlink()
        if not before:
            break
    raise StackError(
        f"{coordinate} is not the file that was pinned (sha256 {found[:12]}… instead of "
        f"{sha256[:12]}…): "
        "a proxy or mirror may have changed it; fetch it another way, or correct "
        "infra/embedded/pins"
    )


def _resolved(held: Any) -> Path:
    """The artifact's file. One name that did not resolve, one connection that broke must not end a
    first start.
    """
    for pause_s in PAUSES_S:
        try:
            return held.resolve()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            time.sleep(pause_s)
    return held.resolve()


def _gather(files: list[Path], final: Path) -> None:
    part = final.with_name(f".{final.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        for file in files:
            if file.name.endswith(".tar.gz"):
                with tarfile.open(file) as archive:
                    archive.extractall(part, filter="data")
            else:
                os.link(file, part / file.name)
        part.rename(final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
