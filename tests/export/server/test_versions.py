"""Which version is served while folders come, go and are half there, with a loader of our own."""

from __future__ import annotations

import os
import shutil
import threading
import time

import pytest

from export.server.versions import AVAILABLE, END, LOADING, State, Versions
from export.service_errors import NotFound, Overloaded
from rgan_tf.errors import BadInput, CorruptData

WHOLE = "whole"


class FakeLoader:
    """Loads a folder whose `saved_model.pb` says "whole"; notes what it was asked for."""

    def __init__(self):
        self.asked: list[int] = []
        self.warmed: list[int] = []
        self.served_meanwhile: list[tuple[int, int | None]] = []
        self.versions: Versions | None = None
        self.warm_up_fails: set[int] = set()

    def __call__(self, folder):
        number = int(folder.name) if folder.name.isdecimal() else 1
        self.asked.append(number)
        if self.versions:
            self.served_meanwhile.append((number, self.versions.newest))
        content = (folder / "saved_model.pb").read_text()
        if content == "bug":
            raise KeyError("x" * 1000)
        if content != WHOLE:
            raise CorruptData(f"{folder}: is {content}")
        return FakeVersion(number, self)


class FakeVersion:
    def __init__(self, number, loader):
        self.number, self._loader = number, loader

    def warm_up(self):
        if self.number in self._loader.warm_up_fails:
            raise RuntimeError("no warmth")
        self._loader.warmed.append(self.number)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


@pytest.fixture
def put(model):
    """Writes a version; the time of the file differs from every one before."""
    clock = iter(range(1_700_000_000, 1_800_000_000))

    def write(number, content=WHOLE):
        folder = model / str(number)
        folder.mkdir(exist_ok=True)
        (folder / "saved_model.pb").write_text(content)
        os.utime(folder / "saved_model.pb", (now := next(clock), now))

    return write


@pytest.fixture
def loader():
    return FakeLoader()


@pytest.fixture
def make(model, loader):
    def create(**options):
        loader.versions = Versions(model, loader, **options)
        return loader.versions

    return create


def served(versions):
    return [number for number, state in versions.states.items() if state.state == AVAILABLE]


def test_nothing_is_served_before_the_first_look(make, put):
    put(1)
    versions = make()
    assert versions.newest is None and versions.states == {}
    for number in (None, 1):
        with pytest.raises(Overloaded):
            versions.get(number)


def test_what_will_be_loaded_is_told_before_it_is_begun(make, put, loader):
    for number in (2, 10, 9):
        put(number)
    versions = make(keep=2)
    versions.announce()
    assert versions.states == {9: State(LOADING), 10: State(LOADING)} and not loader.asked
    with pytest.raises(Overloaded):
        versions.get(10)
    versions.refresh()
    assert versions.states == {9: State(AVAILABLE), 10: State(AVAILABLE)}


def test_of_nothing_nothing_is_told(make):
    versions = make()
    versions.announce()
    assert versions.states == {}
    with pytest.raises(BadInput, match="no exported model"):
        versions.check_any()


def test_leading_zeros_are_the_number_without_them(make, put, loader):
    for name in ("00000123", "0009"):
        put(name)
    versions = make(keep=2)
    versions.announce()
    assert versions.states == {9: State(LOADING), 123: State(LOADING)}
    versions.refresh()
    assert versions.newest == 123 and versions.get(9).number == 9
    put(124)
    versions.refresh()
    assert versions.states[124].state == AVAILABLE and versions.states[9].state == END


def test_a_second_folder_of_a_number_changes_nothing(make, put, loader):
    put(7)
    versions = make()
    versions.refresh()
    put("007")
    put(8)
    with pytest.raises(BadInput, match="007 and 7 are both version 7"):
        versions.refresh()
    assert versions.newest == 7 and loader.asked == [7]


def test_the_newest_by_number_wins_and_is_warm(make, put, loader):
    for number in (2, 10, 9):
        put(number)
    versions = make()
    versions.refresh()
    assert versions.newest == 10 and versions.get(None) is versions.get(10)
    assert loader.asked == loader.warmed == [10]
    assert versions.states == {10: State(AVAILABLE)}
    with pytest.raises(NotFound, match="version 9 is not served; served: 10"):
        versions.get(9)


def test_the_one_before_is_served_until_the_next_is_warm(make, put, loader):
    put(1)
    versions = make()
    versions.refresh()
    first = versions.get(None)
    put(2)
    versions.refresh()
    assert loader.served_meanwhile == [(1, None), (2, 1)]
    assert versions.newest == 2 and first.number == 1
    assert versions.states == {1: State(END), 2: State(AVAILABLE)}
    with pytest.raises(NotFound):
        versions.get(1)


def test_what_has_not_changed_is_not_loaded_again(make, put, loader):
    put(1)
    versions = make()
    for _ in range(5):
        versions.refresh()
    version = versions.get(None)
    put(1)  # its content is that of a version that is served: nothing happens
    versions.refresh()
    assert loader.asked == [1] and versions.get(None) is version


def test_a_half_copied_version_is_refused_until_it_is_whole(make, put, model, loader, caplog):
    put(1)
    versions = make()
    versions.refresh()
    put(2, "half")
    for _ in range(4):
        versions.refresh()
        assert versions.newest == 1 and served(versions) == [1]
    assert loader.asked == [1, 2], "looked at once for each change, not for each look"
    assert versions.states[2].state == END and "is half" in versions.states[2].error
    (model / "2" / "variables").write_text("more")
    versions.refresh()
    assert loader.asked == [1, 2, 2] and versions.newest == 1
    put(2, "half")  # the same size as before, at another time
    versions.refresh()
    assert loader.asked == [1, 2, 2, 2]
    put(2)
    versions.refresh()
    assert versions.newest == 2 and versions.states == {1: State(END), 2: State(AVAILABLE)}
    assert caplog.text.count("version 2 is not served: ") == 3


@pytest.mark.parametrize(
    "change", ["added", "removed", "grown", "in a folder", "readable", "repaired"]
)
def test_every_change_of_a_refused_folder_is_a_reason_to_look(make, put, model, loader, change):
    put(1, "half")
    folder = model / "1"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_text("x")
    versions = make()
    versions.refresh()
    versions.refresh()
    assert loader.asked == [1]
    if change == "added":
        (folder / "other").write_text("")
    elif change == "removed":
        (folder / "deep" / "er" / "file").unlink()
    elif change == "grown":
        (folder / "saved_model.pb").write_text("half of it")
    elif change == "readable":
        time.sleep(0.05)  # the system's clock for files is coarse
        (folder / "saved_model.pb").chmod(0o600)
    elif change == "repaired":  # as rsync does: other content, size and time as before
        time.sleep(0.05)
        before = (folder / "saved_model.pb").stat().st_mtime_ns
        (folder / "saved_model.pb").write_text("flah")
        os.utime(folder / "saved_model.pb", ns=(before, before))
    else:
        (folder / "deep" / "er" / "file").write_text("xy")
    versions.refresh()
    assert loader.asked == [1, 1]


@pytest.mark.parametrize("how", ["bug", "gone", "cold"])
def test_an_error_that_nobody_foresaw_does_not_take_down_the_one_before(
    make, put, model, loader, how
):
    put(1)
    versions = make()
    versions.refresh()
    put(2, "bug" if how == "bug" else WHOLE)
    if how == "gone":
        (model / "2" / "saved_model.pb").unlink()
    loader.warm_up_fails = {2} if how == "cold" else set()
    versions.refresh()
    assert versions.newest == 1 and versions.get(None).number == 1
    state = versions.states[2]
    assert state.state == END and 0 < len(state.error) <= 250
    loader.warm_up_fails = set()
    put(2)
    versions.refresh()
    assert versions.newest == 2 and versions.states[2] == State(AVAILABLE)


def test_an_older_version_is_taken_where_the_newest_is_broken(make, put):
    put(1)
    put(2, "half")
    put(3, "half")
    versions = make()
    versions.refresh()
    assert versions.newest == 1
    assert [versions.states[number].state for number in (1, 2, 3)] == [AVAILABLE, END, END]
    put(2)
    versions.refresh()
    assert versions.newest == 2 and served(versions) == [2]


def test_two_are_kept_when_two_are_to_be(make, put, loader):
    put(1)
    versions = make(keep=2)
    versions.refresh()
    assert served(versions) == [1]
    put(2)
    versions.refresh()
    assert served(versions) == [1, 2]
    put(3)
    versions.refresh()
    assert versions.newest == 3 and served(versions) == [2, 3]
    assert [versions.get(number).number for number in (None, 3, 2)] == [3, 3, 2]
    with pytest.raises(NotFound, match="served: 2, 3"):
        versions.get(1)
    put(4, "half")
    versions.refresh()
    assert served(versions) == [2, 3]
    assert loader.asked == [1, 2, 3, 4]


def test_without_its_newest_version_it_goes_back(make, put, model, loader):
    put(1)
    put(2)
    versions = make()
    versions.refresh()
    shutil.rmtree(model / "2")
    versions.refresh()
    assert versions.newest == 1 and loader.asked == [2, 1]
    assert versions.states == {1: State(AVAILABLE), 2: State(END)}
    put(2)
    versions.refresh()
    assert versions.newest == 2


def test_without_any_folder_what_is_in_memory_stays(make, put, model):
    put(1)
    versions = make()
    versions.refresh()
    shutil.rmtree(model)
    versions.refresh()
    assert versions.newest == 1 and served(versions) == [1]
    model.mkdir()
    put(3, "half")
    versions.refresh()
    assert versions.newest == 1


def test_one_version_by_its_own_folder(put, model, loader):
    put(7)
    versions = Versions(model / "7", loader)
    versions.refresh()
    put(8)
    versions.refresh()
    assert versions.newest == 7 and loader.asked == [7]


def test_a_folder_that_is_not_a_version_is_not_looked_at(make, put, model, loader):
    put(1)
    for name in (".3", "3.partial", "-3", "+3", "\u0663", "serving", "9" * 19, "9" * 40):
        (model / name).mkdir()
        (model / name / "saved_model.pb").write_text(WHOLE)
    (model / "5").write_text("a file")
    versions = make()
    versions.refresh()
    assert loader.asked == [1] and versions.newest == 1


def test_the_largest_number_that_a_client_can_name_is_a_version(make, put):
    put(2**63 - 1)
    versions = make()
    versions.refresh()
    assert versions.newest == 2**63 - 1


def test_the_state_while_it_is_loaded(make, put, model):
    put(1)
    seen = []

    def load(folder):
        seen.append(dict(versions.states))
        return FakeVersion(int(folder.name), FakeLoader())

    versions = Versions(model, load)
    versions.refresh()
    put(2)
    versions.refresh()
    assert seen == [{1: State(LOADING)}, {1: State(AVAILABLE), 2: State(LOADING)}]


def test_that_there_is_nothing_is_said_with_the_reason(make, put, model):
    versions = make()
    versions.refresh()
    with pytest.raises(BadInput, match="no exported model; make one with rgan export"):
        versions.check_any()
    put(1, "half")
    put(2, "spoilt")
    versions.refresh()
    with pytest.raises(BadInput, match="no version can be served: .*is spoilt"):
        versions.check_any()
    put(1)
    versions.refresh()
    versions.check_any()


def test_the_states_that_are_told_are_bounded(make, put, model):
    versions = make()
    for number in range(1, 101):
        put(number, "half")
    versions.refresh()
    assert sorted(versions.states) == list(range(37, 101))


def test_readers_never_see_a_gap_while_versions_are_swapped(make, put, model):
    """Threads that ask all the time, through 20 swaps and as many broken versions."""
    put(1)
    versions = make()
    versions.refresh()
    stop = threading.Event()
    problems: list[BaseException] = []
    seen: set[int] = set()

    def read():
        last = 0
        try:
            while not stop.is_set():
                number = versions.get(None).number
                assert number >= last, f"{number} after {last}"
                last = number
                seen.add(number)
                newest = versions.newest
                assert newest is not None and newest >= last
                for state in versions.states.values():
                    assert state.state in (LOADING, AVAILABLE, END)
                assert AVAILABLE in {state.state for state in versions.states.values()}
        except BaseException as error:
            problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for number in range(2, 42, 2):
        put(number)
        put(number + 1, "half")
        versions.refresh()
        time.sleep(0.002)
    stop.set()
    for reader in readers:
        reader.join()
    assert not problems, problems
    assert versions.newest == 40 and len(seen) > 5
