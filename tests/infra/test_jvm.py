"""The JVMs' options and the names of their caches; a broken cache does no harm."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from infra.embedded import jars, kafka, registry
from infra.embedded.java import jvm, training
from infra.embedded.service import Service
from infra.embedded.testing import JAR_HOME, free_ports
from tests.support.stacks import up

NAMED: dict[str, Any] = {
    "jar_set": "kafka-4.3.1",
    "release": 'JAVA_VERSION="25.0.2"',
    "options": ("-XX:+UseSerialGC", "-Xmx512m"),
    "jars": (("/jars/a.jar", 10, 1_700_000_000), ("/jars/b.jar", 20, 1_700_000_000)),
}
CACHE = Path("/jars/kafka-4.3.1-0123456789abcdef.aot")
FIRST = ("-XX:TieredStopAtLevel=1",)


def test_the_same_java_options_and_jars_give_the_same_name() -> None:
    name = jvm.cache_name(**NAMED)
    assert name == jvm.cache_name(**NAMED)
    assert name.startswith("kafka-4.3.1-") and name.endswith(".aot")
    assert len(name) == len(CACHE.name)


@pytest.mark.parametrize(
    "changed",
    [
        {"release": 'JAVA_VERSION="25.0.3"'},
        {"options": ("-XX:+UseG1GC", "-Xmx512m")},
        {"jars": (("/jars/a.jar", 10, 1_700_000_000),)},
        {"jars": (("/jars/a.jar", 11, 1_700_000_000), NAMED["jars"][1])},
        {"jars": (("/jars/a.jar", 10, 1_700_000_001), NAMED["jars"][1])},
        {"jars": (("/moved/a.jar", 10, 1_700_000_000), NAMED["jars"][1])},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_whatever_the_jvm_binds_a_cache_to_changes_its_name(changed: dict[str, Any]) -> None:
    assert jvm.cache_name(**(NAMED | changed)) != jvm.cache_name(**NAMED)


@pytest.mark.parametrize(
    ("mode", "both", "cached", "expected"),
    [
        ("lasting", True, True, ()),
        ("lasting", True, False, FIRST),
        ("lasting", False, True, FIRST),
        ("lasting", False, False, FIRST),
        ("short", True, True, FIRST),
        ("short", True, False, FIRST),
        ("recording", True, False, ()),
        ("recording", False, False, FIRST),
    ],
)
def test_the_second_compiler_runs_where_it_earns_its_time(
    mode: jvm.Mode, both: bool, cached: bool, expected: tuple[str, ...]
) -> None:
    assert jvm.compilers(mode, both, cached) == expected


@pytest.mark.parametrize("mode", ["lasting", "short"])
def test_a_cache_is_used_and_checked_where_it_is(mode: jvm.Mode) -> None:
    assert jvm.cache_options(mode, CACHE, cached=False) == ()
    used = jvm.cache_options(mode, CACHE, cached=True)
    assert used[0] == f"-XX:AOTCache={CACHE}"
    assert "-XX:+VerifySharedSpaces" in used


def test_a_cache_is_written_under_another_name_first() -> None:
    written = jvm.cache_options("recording", CACHE, cached=False)[0]
    assert written == f"-XX:AOTCacheOutput={CACHE.parent}/.{CACHE.name}"


def test_only_caches_of_the_same_jars_are_replaced() -> None:
    names = [
        CACHE.name,
        "kafka-4.3.1-fedcba9876543210.aot",
        "kafka-4.3.1-fedcba9876543210.txt",
        "kafka-4.3.1",
        f".{CACHE.name}",
        "apicurio-3.3.3-fedcba9876543210.aot",
    ]
    assert jvm.stale(CACHE, names) == ["kafka-4.3.1-fedcba9876543210.aot"]


def test_the_tool_that_formats_gets_none_of_the_brokers_options() -> None:
    formatting = kafka.START.partition("exec ")[0]
    assert "StorageTool" in formatting
    assert '"$@"' not in formatting


def test_a_training_is_offered_until_both_caches_are_there(tmp_path: Path) -> None:
    assert training.service(tmp_path, tmp_path) is not None  # before the jars are
    programs = []
    for name, program in ((kafka.JARS, kafka.program), (registry.JARS, registry.program)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jar").touch()
        programs.append(program(tmp_path / name))
    offered = training.service(tmp_path, tmp_path)
    assert offered is not None and offered.background
    assert training.missing(tmp_path) == [program.cache() for program in programs]
    for program in programs:
        program.cache().touch()
    assert training.service(tmp_path, tmp_path) is None


@pytest.mark.engine
def test_a_recorded_cache_is_used_and_a_corrupt_one_stops_nothing(tmp_path: Path) -> None:
    jar_home = tmp_path / "jars"
    shutil.copytree(
        jars.provide(kafka.JARS, JAR_HOME), jar_home / kafka.JARS, copy_function=os.link
    )
    program = kafka.program(jar_home / kafka.JARS)
    with training.recording(broker(tmp_path / "recorded", jar_home, "recording"), program):
        pass
    cache = program.cache()
    assert {path.name for path in jar_home.iterdir()} == {kafka.JARS, cache.name}
    assert "AOT" not in said_by(tmp_path / "whole", jar_home)
    whole = cache.read_bytes()
    middle = len(whole) // 2
    flipped = bytes(byte ^ 0x5A for byte in whole[middle : middle + 4096])
    cache.write_bytes(whole[:middle] + flipped + whole[middle + 4096 :])
    assert "AOT cache" in said_by(tmp_path / "flipped", jar_home)
    cache.write_bytes(whole[:middle])
    assert "AOT cache" in said_by(tmp_path / "cut-off", jar_home)


def broker(home: Path, jar_home: Path, mode: jvm.Mode) -> Service:
    port, controller_port = free_ports(2)
    return kafka.service(home, port, controller_port, mode, jar_home)


def said_by(home: Path, jar_home: Path) -> str:
    """What a broker wrote to its log until it was ready, with the cache where there is one."""
    home.mkdir()
    lasting = broker(home, jar_home, "lasting")
    assert any(word.startswith("-XX:AOTCache=") for word in lasting.argv)
    with up(home, lasting):
        return (home / "log" / "kafka.log").read_text(encoding="utf-8")
