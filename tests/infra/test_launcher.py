"""`weir` makes its environment once and whole, with clear errors."""

import hashlib
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLI = "import sys; print('cli', sys.executable, *sys.argv[1:])\n"


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """The launcher as a module, its paths in a project of its own whose lock says `one`."""
    loader = importlib.machinery.SourceFileLoader("weir_launcher", str(ROOT / "weir"))
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("weir_launcher", loader)
    )
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    project(tmp_path)
    for name in ("ROOT", "LOCK", "VENV", "PYTHON", "STAMP"):
        monkeypatch.setattr(module, name, tmp_path / getattr(module, name).relative_to(ROOT))
    return module


def project(folder: Path) -> None:
    """What the launcher needs to see: a lock without packages, a command line that says how it was
    called.
    """
    for name in ("infra", "streams", ".ci"):
        (folder / name).mkdir()
    (folder / "infra" / "requirements.lock").write_text("# no packages\n")
    (folder / "streams" / "cli").mkdir()
    (folder / "streams" / "cli" / "main.py").write_text(CLI)
    for name in ("weir", ".ci/run"):
        shutil.copy(ROOT / name, folder / name)


def made(module) -> str:
    """Make the environment by hand, as if it had been made in full."""
    module.PYTHON.parent.mkdir(parents=True, exist_ok=True)
    module.PYTHON.touch()
    wanted = hashlib.sha256(module.LOCK.read_bytes()).hexdigest()
    module.STAMP.write_text(wanted)
    return wanted


def test_a_stamp_of_this_lock_and_a_python_make_it_whole(launcher):
    assert not launcher.is_made("any")
    wanted = made(launcher)
    assert launcher.is_made(wanted)
    assert not launcher.is_made("of another lock")
    launcher.PYTHON.unlink()
    assert not launcher.is_made(wanted)


@pytest.mark.parametrize("whole, cleared", [(True, []), (False, [True])])
def test_what_is_incomplete_is_made_anew_and_what_is_outdated_brought_up_to_date(
    launcher, monkeypatch, whole, cleared
):
    made(launcher)
    if not whole:
        launcher.STAMP.unlink()
    calls = []
    monkeypatch.setattr("venv.create", lambda *_args, clear, **_more: calls.append(clear))
    monkeypatch.setattr(launcher, "install", lambda: None)
    launcher.make("new")
    assert calls == cleared
    assert launcher.STAMP.read_text() == "new"


def test_an_install_that_breaks_off_leaves_no_stamp(launcher, monkeypatch):
    made(launcher)

    def breaks():
        raise KeyboardInterrupt

    monkeypatch.setattr(launcher, "install", breaks)
    with pytest.raises(SystemExit, match="the next run makes it"):
        launcher.make("new")
    assert not launcher.is_made("new")
    assert not launcher.STAMP.exists()


@pytest.mark.parametrize(
    "said, means",
    [
        (
            "ERROR: Could not fetch URL: Failed to establish a new connection: "
            "Name or service not known",
            "connect, then",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE",
            "not the one that the lock pins",
        ),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("error: something new", "something new\nweir: the packages could not be installed"),
    ],
)
def test_each_failure_says_what_to_do(launcher, said, means):
    assert means in launcher.explain(said, Path("install.log"))


@pytest.mark.parametrize(
    "said, unpacked, line",
    [
        ("", 1, "downloading: 0 of 3 packages"),
        (
            "Collecting a==1\nIgnoring c: markers\nCollecting b==1\n",
            1,
            "downloading: 2 of 2 packages",
        ),
        (
            "Collecting a==1\nInstalling collected packages: a, b, c\n",
            2,
            "unpacking: 2 of 3 packages",
        ),
    ],
)
def test_progress_counts_what_belongs_to_this_platform(launcher, said, unpacked, line):
    assert launcher.progress("a==1\nb==1\nc==1 ; sys_platform == 'win32'\n", said, unpacked) == line


def test_no_network_is_one_sentence(launcher, monkeypatch):
    launcher.LOCK.write_text("nothing-like-it==1.0 --hash=sha256:" + "0" * 64 + "\n")
    made(launcher)
    launcher.PYTHON.unlink()
    launcher.PYTHON.symlink_to(sys.executable)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")  # nobody answers there
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(SystemExit) as refusal:
        launcher.install()
    assert "is out of reach: connect, then try again" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_old_python_is_told_so():
    code = (
        "import runpy, sys; sys.version_info = (3, 9, 2, 'final', 0); "
        f"runpy.run_path({str(ROOT / 'weir')!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert (
        ended.stderr.strip()
        == "weir: this is Python 3.9 and Weir needs 3.11 or newer: run it as `python3.11 weir ...`"
    )


def test_two_at_once_make_it_once_and_then_it_costs_nothing(tmp_path):
    project(tmp_path)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    both = [
        subprocess.Popen(
            [tmp_path / "weir", "say", str(n)],
            cwd="/",
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in (1, 2)
    ]
    said = [process.communicate(timeout=150) for process in both]
    python = tmp_path / ".venv" / "bin" / "python"
    assert [out.strip() for out, _ in said] == [f"cli {python} say 1", f"cli {python} say 2"]
    assert sorted("waiting for it" in err for _, err in said) == [False, True]
    made_at = (tmp_path / ".venv" / "weir-lock").stat().st_mtime_ns
    began = time.monotonic()
    ran = subprocess.run(
        [tmp_path / ".ci" / "run"], env=env, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"cli {python} test"
    assert time.monotonic() - began < 2
    assert (tmp_path / ".venv" / "weir-lock").stat().st_mtime_ns == made_at
