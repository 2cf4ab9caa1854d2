"""An import has no effects: it changes no logger, starts no thread, and touches no socket, file or
setting.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("schemas", "processors", "sinks", "streams", "infra")
READS_THE_ENVIRONMENT = {"streams/config.py"}
FRESH = (
    "import importlib, json, sys; [importlib.import_module(name) for name in "
    "json.load(sys.stdin)]; print(json.dumps("
)
FOREIGN = FRESH + "[*sys.modules]))"
WATCHED = """
import importlib, json, logging, os, sys, threading
names, foreign, root = json.load(sys.stdin)
for name in foreign:
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # a name that its package made up, for itself only
effects, here = [], os.environ
ACTS = ("socket.", "subprocess.", "os.system", "os.mkdir", "os.rename", "os.remove", "os.utime", "os.putenv")

def ours():
    '''The line of the project that made this happen, unless a library did so by itself.'''
    frame = sys._getframe(2)
    while frame and ("importlib" in (path := frame.f_code.co_filename) or path.startswith((sys.base_prefix, "<frozen"))
                     and "site-packages" not in path):
        frame = frame.f_back
    path = frame.f_code.co_filename if frame else ""
    return f"{os.path.relpath(path, root)}:{frame.f_lineno}" if path.startswith(root) and "site-packages" not in path else ""

def audit(event, arguments):
    writes = event == "open" and (isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
                                  or isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if writes and "__pycache__" not in str(arguments[0]) or event.startswith(ACTS):
        effects.append(f"{event} {arguments[0]!s:.100}")

def reading(self, key, read=type(here).__getitem__):
    if place := ours():
        effects.append(f"environment {key} {place}")
    return read(self, key)

def loggers():
    known = {"": logging.getLogger()} | logging.Logger.manager.loggerDict
    return {name: state(one) for name, one in known.items() if isinstance(one, logging.Logger)}

def state(one):
    # faust adds one, and it does nothing
    handlers = sum(not isinstance(handler, logging.NullHandler) for handler in one.handlers)
    return one.level, handlers, len(one.filters), one.disabled, one.propagate

fresh = (logging.NOTSET, 0, 0, False, True)
before, threads = loggers(), set(threading.enumerate())
sys.addaudithook(audit)
type(here).__getitem__ = reading
for name in names:
    importlib.import_module(name)
type(here).__getitem__ = reading.__defaults__[0]
effects += [f"logger {name} {state}" for name, state in loggers().items() if state != before.get(name, fresh)]
effects += [f"thread {one.name}" for one in set(threading.enumerate()) - threads]
print(json.dumps(effects))
"""


def modules(root: Path, packages: tuple[str, ...]) -> list[str]:
    paths = sorted(
        path.relative_to(root) for package in packages for path in (root / package).rglob("*.py")
    )
    return [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if path.stem != "__main__"
    ]


def run(code: str, given: object, root: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(root)},
    )
    assert not done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def effects(names: list[str], root: Path, packages: tuple[str, ...]) -> list[str]:
    """What importing these does, in a process that has imported all libraries before: what those do
    is theirs.
    """
    foreign = [
        name
        for name in run(FOREIGN, names, root)
        if name.split(".")[0] not in (*packages, "__main__")
    ]
    return run(WATCHED, [names, foreign, str(root)], root)


def test_an_import_has_no_effects():
    found = effects(modules(ROOT, PACKAGES), ROOT, PACKAGES)
    assert [
        one for one in found if one.split()[-1].split(":")[0] not in READS_THE_ENVIRONMENT
    ] == []


@pytest.mark.parametrize(
    "line, effect",
    [
        ("import logging; logging.getLogger('a').setLevel(50)", "logger a"),
        ("import logging; logging.basicConfig()", "logger "),
        (
            "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "thread ",
        ),
        ("import os; os.environ.get('HOME')", "environment HOME bad/one.py:2"),
        ("import os; os.getenv('HOME')", "environment HOME bad/one.py:2"),
        ("import socket; socket.create_server(('127.0.0.1', 0))", "socket."),
        ("open(__file__ + '.written', 'w').close()", "open "),
        ("import pathlib; pathlib.Path(__file__ + '.made').touch()", "os.utime"),
    ],
)
def test_each_effect_is_found(tmp_path, line, effect):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "one.py").write_text(f"\n{line}\n")
    assert any(one.startswith(effect) for one in effects(["bad.one"], tmp_path, ("bad",)))


def test_the_gateway_tells_what_its_clients_log_and_the_command_line_does_not():
    said = (
        "import logging, streams.http_app, streams.cli.main; levels = lambda: "
        "[logging.getLogger(name).level for name in ("
        "'clickhouse_connect', 'streams.engine.kafka')]; before = levels(); "
        "streams.cli.main.silence_clients(); print([before, levels()])"
    )
    assert run(said, None, ROOT) == [[0, 0], [50, 50]]
