"""Curves as training last wrote them, however often it stopped or went back."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.training.report.reading import write_scalars
from training.report.events import read_curves
from training.report.notes import Notes


def curve(folder, notes=None, name="a"):
    found = read_curves(folder, Notes() if notes is None else notes)[name]
    return found.steps.tolist(), found.values.tolist()


def test_a_stopped_run_goes_on_in_another_file(tmp_path):
    write_scalars(tmp_path, "a", [(2, 1.0), (4, 0.5)])
    write_scalars(tmp_path, "a", [(6, 0.25)])
    assert curve(tmp_path) == ([2, 4, 6], [1.0, 0.5, 0.25])


def test_of_a_repeated_step_what_was_written_last_counts(tmp_path):
    # Went back from 8 to 4; what was logged at 6 and 8 is of a road that was left.
    write_scalars(tmp_path, "a", [(2, 1.0), (4, 2.0), (6, 3.0), (8, 4.0)])
    write_scalars(tmp_path, "a", [(6, 30.0)])
    assert curve(tmp_path) == ([2, 4, 6], [1.0, 2.0, 30.0])


def test_files_count_in_the_order_they_were_begun_not_of_their_names(tmp_path):
    first = write_scalars(tmp_path, "a", [(2, 1.0)])
    second = write_scalars(tmp_path, "a", [(2, 9.0)])
    first.rename(tmp_path / "z.tfevents")
    second.rename(tmp_path / "b.tfevents")
    assert curve(tmp_path) == ([2], [9.0])


def test_pictures_and_texts_are_not_curves(tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path))
    with writer.as_default(step=1):
        tf.summary.image("grid", np.zeros([1, 4, 4, 3], np.uint8))
        tf.summary.text("words", "x")
        tf.summary.histogram("weights", [1.0, 2.0])
        tf.summary.scalar("a", float("nan"))
    writer.close()
    found = read_curves(tmp_path, Notes())
    assert list(found) == ["a"] and np.isnan(found["a"].values).all()


def test_what_stands_before_a_cut_is_read(tmp_path, capsys):
    path = write_scalars(tmp_path, "a", [(2, 1.0), (4, 0.5)])
    path.write_bytes(path.read_bytes()[:-5])
    notes = Notes()
    assert curve(tmp_path, notes) == ([2], [1.0])
    (line,) = notes.lines
    assert path.name in line and "cut off or damaged after 2 records" in line
    assert capsys.readouterr().err == f"report: {line}\n"


def test_a_flipped_byte_and_files_of_other_kinds(tmp_path):
    path = write_scalars(tmp_path, "a", [(2, 1.0), (4, 0.5)])
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(content)
    (tmp_path / "x.tfevents.empty").write_bytes(b"")
    (tmp_path / "x.tfevents.text").write_text("no records at all, only words" * 9)
    with tf.io.TFRecordWriter(str(tmp_path / "x.tfevents.record")) as writer:
        writer.write(b"\xff\xff\xff")
    (tmp_path / "x.tfevents.folder").mkdir()
    notes = Notes()
    assert curve(tmp_path, notes) == ([2], [1.0])
    assert len(notes.lines) == 4
    said = "\n".join(sorted(notes.lines))
    assert "text: is cut off or damaged after 0 records" in said
    assert "record: holds something else than events after 0 records" in said
    assert "folder: cannot be read" in said


def test_no_folder_no_curves(tmp_path):
    notes = Notes()
    assert read_curves(tmp_path / "none", notes) == {} and not notes.lines
