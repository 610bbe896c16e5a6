"""A file that is missing, and one that is there under nearly its name."""

from __future__ import annotations

import json
import unicodedata

import pytest

from rgan_tf.errors import BadInput
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.storage.files import read_json
from rgan_tf.storage.image import read_image

_ADVICE = ", but {!r} is there; write the name as the file has it"


@pytest.mark.parametrize(
    ("there", "named", "found"),
    [
        ("images/A.JPG", "images/a.jpg", "A.JPG"),
        ("images/A.JPG", "images/a.jpeg", "A.JPG"),
        ("Images/Train/A.jpg", "images/train/a.jpg", "Images/Train/A.jpg"),
        (unicodedata.normalize("NFD", "Bäume.png"), "bäume.png", None),
        # Another file is not another spelling.
        ("images/000122.jpg", "images/000123.jpg", ""),
        ("images/a.png", "images/a.jpg", ""),
        ("images/a.jpg", "images/b/a.jpg", ""),
        ("images/a.jpg", "images/a.jpg", ""),
        ("images/a.jpg", "images", ""),
        ("images/a.jpg", "images/a.jpg/b.jpg", ""),
        ("images/a.jpg", "images/" + "a" * 300, ""),
        ("images/a.jpg", "images/a\0.jpg", ""),
    ],
)
def test_a_file_that_is_there_in_another_spelling_is_named(tmp_path, there, named, found):
    (tmp_path / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / there).touch()
    found = there if found is None else found
    assert spelled_otherwise(tmp_path / named) == (found and _ADVICE.format(found))


def test_of_two_spellings_the_one_that_was_named_is_meant(tmp_path):
    for name in ("A.jpg", "a.jpg", "Images/X/b.jpg", "Images/x/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert spelled_otherwise(tmp_path / "a.jpg") == ""  # it cannot be read, say
    found = spelled_otherwise(tmp_path / "images" / "x" / "a.jpg")
    assert found == _ADVICE.format("Images/x/a.jpg")


def test_a_folder_that_has_changed_is_looked_at_again(tmp_path):
    assert spelled_otherwise(tmp_path / "a.jpg") == ""
    (tmp_path / "A.jpg").touch()
    assert "'A.jpg'" in spelled_otherwise(tmp_path / "a.jpg")


def test_pictures_and_json_files_that_are_missing_say_so(tmp_path):
    for name, read in (("A.PNG", read_image), ("B.json", read_json)):
        (tmp_path / name).write_text(json.dumps({}))
        with pytest.raises(BadInput, match=f"No such file or directory, but '{name}' is there"):
            read(tmp_path / name.swapcase())
        (tmp_path / name).unlink()
        with pytest.raises(BadInput, match="No such file or directory; name a"):
            read(tmp_path / name.swapcase())
