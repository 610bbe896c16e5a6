"""What the processes of one test session share: folders that are made once, and who runs what."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# These tests ask one server, which counts its requests and has one queue: one worker runs them all.
# It has built, traced and loaded the model for that, which takes half a minute, and so runs the
# other tests that ask the model in their own process too.
SERVER_TESTS = (
    "tests/export/server/",
    "tests/export/served/",
    "tests/export/publishing/",
    "tests/export/bench/test_requests.py",
    "tests/export/client/test_generate_from_server.py",
    "tests/export/test_earlier_contract.py",
    "tests/export/test_edits.py",
    "tests/export/test_generate.py",
    "tests/export/test_pipeline.py",
    "tests/export/test_saved_model.py",
)
LAST_OF_SERVER = "tests/export/server/test_lifecycle.py"  # changes its model and ends it
# And these ask one process of `rgan studio`, which the last of them end, and the loaded model too.
STUDIO_TESTS = ("tests/export/studio/test_page_real.py", "tests/export/studio/test_real_model.py")
TOGETHER = SERVER_TESTS + STUDIO_TESTS
LONGEST_FIRST = (
    SERVER_TESTS,
    ("tests/training/",),
    STUDIO_TESTS,
    ("tests/export/",),
    ("tests/rivals/",),
    ("tests/model/",),
    ("tests/test_backbones.py", "tests/test_notebooks.py", "tests/test_fixed_order.py"),
    ("tests/retrieval/", "tests/generator/", "tests/world/"),
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Gives a worker whole files, the longest rooms first; small files fill the time at the end."""
    from xdist.scheduler import LoadFileScheduling

    class ByRoom(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return TOGETHER[0] if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)

    return ByRoom(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """Lets the second worker read the test files from the last to the first.

    pytest compiles those that were not compiled before and keeps them, so each worker compiles one
    half and finds the other.
    """
    report = yield
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" and isinstance(collector, pytest.Directory):
        report.result.reverse()
    return report


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]):
    items.sort(key=lambda item: item.path.parts)  # as all workers have to have them
    yield

    def place(item: pytest.Item) -> tuple[int, bool]:
        rooms = [
            number for number, tests in enumerate(LONGEST_FIRST) if item.nodeid.startswith(tests)
        ]
        room = rooms[0] if rooms else len(LONGEST_FIRST)
        return room, item.nodeid.startswith(LAST_OF_SERVER)

    items.sort(key=place)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Iterator[Callable[[str, Callable[[Path], None]], Path]]:
    """Makes a folder that all workers read: (name, function that fills it) -> the folder.

    Whoever asks first fills it, and the others wait. No test may change it; this is checked at the
    end of the session.
    """
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made: dict[Path, dict] = {}

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, finished = base / "shared" / name, base / "shared" / f"{name}.json"
        folder.parent.mkdir(exist_ok=True)
        with _alone(folder.with_suffix(".lock")):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # a worker failed while filling it
                folder.mkdir()
                fill(folder)
                finished.write_text(json.dumps(_files(folder)))
        made[folder] = json.loads(finished.read_text())
        return folder

    yield make
    for folder, files in made.items():
        now = _files(folder)  # with what the product keeps beside the data, such as embedded banks
        changed = [name for name, state in files.items() if now.get(name) != state]
        assert not changed, f"a test changed files in {folder}, which all tests share: {changed}"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and time of change of every file below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if not path.is_dir():
            found[str(path.relative_to(folder))] = [status.st_size, status.st_mtime_ns]
    return found
