"""Jobs here and on runners of Beam: what is skipped, told, noted and refused."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.runner import PipelineRunner

from rgan_tf import spread
from rgan_tf.adapters import beam
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.spread import Engine, check_engine
from rgan_tf.storage.files import atomic_folder

THREADS = Engine("DirectRunner", ("direct_running_mode=multi_threading", "direct_num_workers=2"))
BOTH = pytest.mark.parametrize("engine", [Engine(), THREADS], ids=["here", "beam"])


@dataclasses.dataclass(frozen=True)
class Line:
    out: Path
    text: str
    count: int = 1


def write(job: Line) -> None:
    job.out.write_text(job.text)


def fail_at_two(job: Line) -> None:
    if job.text == "2":
        raise CorruptData("image 2: is damaged")
    write(job)


def fail_at_one_slowly(job: Line) -> None:
    if job.text == "1":
        raise CorruptData("image 1: is damaged")
    time.sleep(0.1)
    write(job)


def be_killed_at_two(job: Line) -> None:
    if job.text == "2":
        os.kill(os.getpid(), signal.SIGKILL)
    write(job)


def divide(job: Line) -> None:
    raise ZeroDivisionError("one by nought")


def fill_the_disk(job: Line) -> None:
    raise OSError(28, "No space left on device", str(job.out))


def be_late(job: Line) -> None:
    """Somebody else makes the same folder meanwhile, but for one that nobody makes."""
    with atomic_folder(job.out) as folder:
        (folder / "text").write_text(job.text)
        if job.text == "2":
            (job.out.parent / "other").mkdir()
            (job.out.parent / "other" / "file").touch()
            with atomic_folder(job.out.parent / "other"):
                pass
        with atomic_folder(job.out) as other:
            (other / "text").write_text(job.text)


def outlive_who_waits(job: Line) -> None:
    shutil.rmtree(job.out.parent)
    raise BadInput("the folder is gone")


def write_surroundings(job: Line) -> None:
    job.out.write_text(f"{os.environ['TF_ENABLE_ONEDNN_OPTS']} {os.environ['RGAN_WEIGHTS']}")


class OtherWeights:
    """Work that a worker cannot unpack."""

    def __call__(self, job: Line) -> None:
        write(job)

    def __reduce__(self):
        return refuse, ()


def refuse() -> None:
    raise BadInput("backbone: other weights than the command")


class LosesItsScheduler(PipelineRunner):
    """Ends as Beam's runner for Dask does when the cluster ends."""

    def run_pipeline(self, pipeline, options):
        logging.getLogger("distributed.client").error("no connection")
        futures = [SimpleNamespace(status=status) for status in ("finished", "cancelled")]
        return SimpleNamespace(wait_until_finish=lambda: "DONE", futures=futures)


def write_elsewhere(job: Line) -> None:
    job.out.with_suffix(".other").write_text(job.text)


@pytest.fixture
def lines(tmp_path):
    return [Line(tmp_path / f"{number}.txt", str(number)) for number in range(5)]


def content_of(jobs):
    return [job.out.read_text() if job.out.exists() else None for job in jobs]


@BOTH
def test_every_job_leaves_its_file_and_a_second_run_nothing_new(engine, lines, capfd):
    lines[3].out.write_text("of an earlier run")
    engine.run(write, lines, "lines")
    assert content_of(lines) == ["0", "1", "2", "of an earlier run", "4"]
    assert "lines: 5/5" in capfd.readouterr().err
    engine.run(divide, lines, "lines", shown=False)
    assert capfd.readouterr().err == ""


@BOTH
def test_what_a_job_raises_ends_the_run_with_its_own_line(engine, lines, capfd, caplog):
    with pytest.raises(CorruptData, match="^image 2: is damaged$"):
        engine.run(fail_at_two, lines, "lines", shown=False)
    assert capfd.readouterr().err == "" and not caplog.records  # Beam would tell it in 200 lines
    assert content_of(lines)[2] is None
    assert all(path.suffix == ".txt" for path in lines[0].out.parent.iterdir())
    engine.run(write, lines, "lines", shown=False)  # the note of the failure does not stay in force
    assert content_of(lines) == ["0", "1", "2", "3", "4"]


@BOTH
def test_what_somebody_else_has_made_meanwhile_is_made(engine, tmp_path):
    """Such as a worker that outlived a killed call; any other name that is taken is a failure."""
    lines = [Line(tmp_path / f"{number}", str(number)) for number in (0, 1, 3)]
    engine.run(be_late, lines, "lines", shown=False)
    assert [(job.out / "text").read_text() for job in lines] == ["0", "1", "3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "3"]
    with pytest.raises(BadInput, match="other: folder exists and is not empty"):
        engine.run(be_late, [Line(tmp_path / "2", "2")], "lines", shown=False)
    assert not (tmp_path / "2").exists()


def test_a_worker_that_outlives_who_waits_makes_no_folder_anew(tmp_path):
    folder = tmp_path / "pieces"
    folder.mkdir()
    noting = spread._Noting(outlive_who_waits, folder / "0.error")
    with pytest.raises(BadInput, match="the folder is gone"):
        noting(Line(folder / "0", "0"))
    assert not folder.exists()


def test_after_a_failure_no_worker_begins_another_job(tmp_path):
    """Beam waits for the shares of all workers before it reports the failure of one."""
    lines = [Line(tmp_path / f"{number}.txt", str(number)) for number in range(40)]
    with pytest.raises(CorruptData, match="image 1"):
        THREADS.run(fail_at_one_slowly, lines, "lines", shown=False)
    assert sum(text is not None for text in content_of(lines)) < 15


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_a_worker_that_is_killed_ends_the_run(lines, monkeypatch, capfd):
    """As the system does when the memory is full; Beam by itself would wait for ever."""
    here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", here)
    engine = Engine("DirectRunner", ("direct_num_workers=2",))
    with pytest.raises(BadInput, match="--runner DirectRunner: a worker process was killed"):
        engine.run(be_killed_at_two, lines, "lines", shown=False)
    assert capfd.readouterr().err == ""
    engine.run(write, lines, "lines", shown=False)
    assert content_of(lines) == ["0", "1", "2", "3", "4"]


def test_a_full_disk_of_a_worker_is_not_a_bug_and_a_bug_is_one(lines):
    with pytest.raises(BadInput, match=r"[01]\.txt: No space left on device; free some space"):
        THREADS.run(fill_the_disk, lines, "lines", shown=False)
    with pytest.raises(Exception, match="one by nought") as caught:
        THREADS.run(divide, lines, "lines", shown=False)
    assert not isinstance(caught.value, BadInput)


def test_workers_take_what_decides_the_bytes_from_the_command(lines, tmp_path, monkeypatch):
    """Workers of a cluster were started by somebody else, without what `rgan` sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("RGAN_WEIGHTS", "mine")
    working = pickler.dumps(beam._Working(write_surroundings))
    job = beam._packed(lines[0])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setenv("RGAN_WEIGHTS", "theirs")
    pickler.loads(working).process(job)
    assert lines[0].out.read_text() == f"1 {tmp_path}/mine"


def test_a_worker_that_cannot_begin_says_why_as_a_job_does(lines):
    with pytest.raises(BadInput, match="^backbone: other weights than the command$"):
        THREADS.run(OtherWeights(), lines, "lines", shown=False)


def test_a_scheduler_that_ends_too_early_is_named_in_one_line(lines, caplog):
    """What it has not done is no sign that folders are not shared."""
    caplog.set_level(logging.WARNING, "distributed.client")  # as it sets itself
    with pytest.raises(BadInput, match="LosesItsScheduler: .*its scheduler ended before all was"):
        Engine(f"{__name__}.LosesItsScheduler").run(write, lines, "lines", shown=False)
    assert not caplog.records


def test_workers_that_write_to_another_disk_are_told_of(lines):
    with pytest.raises(BadInput, match="0.txt: was written by a worker .* folders that all"):
        THREADS.run(write_elsewhere, lines, "lines", shown=False)


@pytest.mark.parametrize(
    "runner, options, reason",
    [
        ("Nope", (), "--runner Nope: Unexpected pipeline runner: Nope"),
        ("my.Runner", (), "--runner my.Runner: No module named 'my'"),
        ("os.path", (), "--runner os.path: os.path is not a runner of Apache Beam"),
        ("sys.exit", (), "--runner sys.exit: sys.exit is not a runner of Apache Beam"),
        ("..Runner", (), "--runner ..Runner: "),
        ("DirectRunner", ("direct_num_workers=-1",), "num_workers: must be at least 1"),
        ("DirectRunner", ("runner=FlinkRunner",), "--runner-option runner: name the runner by --r"),
        ("DirectRunner", ("nope=3",), "--runner-option nope: Apache Beam has no such option"),
        ("DirectRunner", ("direct_num_workers=all",), "direct_num_workers: invalid int value"),
        (
            "DirectRunner",
            ("direct_num_workers=1", "experiments=a", "experiments=b", "direct_num_workers=2"),
            "--runner-option direct_num_workers: is given 2 times; give it once",
        ),
        ("", ("direct_num_workers=2",), "--runner-option: without --runner"),
    ],
)
def test_wrong_runners_and_options_are_one_line(lines, runner, options, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        Engine(runner, options).run(write, lines, "lines", shown=False)
    assert "\n" not in str(caught.value)
    assert content_of(lines) == [None] * 5


def test_one_option_is_not_a_list_of_its_letters_and_the_name_of_a_runner_is_not_an_engine():
    assert Engine("DirectRunner", "direct_num_workers=2").options == ("direct_num_workers=2",)
    assert Engine("DirectRunner", ["a=1", "b"]) == Engine("DirectRunner", ("a=1", "b"))
    for make, reason in (
        (lambda: Engine(3), "runner 3: must be the name of a runner"),
        (lambda: Engine("DirectRunner", (2,)), "options: must be a list of texts, and holds 2"),
        (lambda: check_engine("DirectRunner"), "engine 'DirectRunner': must be an rgan_tf.Engine"),
        (lambda: check_engine(Engine("", ("a=1",))), "without --runner nothing would read it"),
    ):
        with pytest.raises(BadInput, match=reason):
            make()


def test_a_runner_that_is_not_installed_says_how(lines, monkeypatch):
    for name in ("apache_beam.runners.dask.dask_runner", "dask", "dask.bag"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "dask", None)
    with pytest.raises(BadInput, match=r"--runner DaskRunner: .*dask.*; install it: pip install"):
        Engine("DaskRunner").check()


def test_there_are_as_many_workers_as_cores_that_were_given(monkeypatch):
    """Of 128 cores of a shared machine a job may have 2; 128 processes would fill its memory."""
    monkeypatch.setattr("rgan_tf.adapters.beam.usable_cores", lambda: 2)
    assert beam.check_runner("DirectRunner", ())[1] == ["--direct_num_workers=2"]
    flags = beam.check_runner("DirectRunner", ("direct_num_workers=5",))[1]
    assert PipelineOptions(flags).view_as(DirectOptions).direct_num_workers == 5


def test_beam_is_imported_only_when_it_is_used():
    words = "import sys, rgan_tf.spread, training.commands.prepare as p, training.commands.bank"
    subprocess.run(
        [sys.executable, "-c", f"{words}; assert 'apache_beam' not in sys.modules"], check=True
    )
