"""What a COCO file of a user may hold, and what of it is refused in one line."""

from __future__ import annotations

import json

import pytest

from rgan_tf.bank.sources import coco_source, folder_source, image_id_of
from rgan_tf.errors import BadInput


@pytest.fixture
def coco(tmp_path):
    """Writes a file with one image of one object, its text changed, and reads it."""
    (tmp_path / "photos").mkdir()
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 60, "height": 40, "license": 4}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [5, 4, 30, 20]}],
        "categories": [{"id": 1, "name": "house"}],
        "licenses": [{"id": 4, "name": "BY"}],
    }

    def read(*changes: tuple[str, str], repeat: int = 1, **options):
        content["annotations"] = content["annotations"][:1] * repeat
        text = json.dumps(content)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "a.json").write_text(text)
        return coco_source(tmp_path / "a.json", tmp_path / "photos", **options)

    return read


HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("[5, 4, 30, 20]", "[-1e999, 0, 1e999, 10]", "1 x object: its box cannot be read"),
        ("[5, 4, 30, 20]", "[5, 5, 1e999, 1e999]", "1 x object: its box cannot be read"),
        ("[5, 4, 30, 20]", f"[5, 5, {HUGE}, 10]", "1 x object: its box cannot be read"),
        ("[5, 4, 30, 20]", "[5, 4, -30, -20]", "1 x object: its box has no area"),
        ('"width": 60', f'"width": {HUGE}', "width and height must be in"),
        ('"height": 40', '"height": 1000001', "width and height must be in"),
        ('"height": 40', '"height": 0', "photos/a.png: No such file"),  # that would tell it
        ('"id": 7', '"id": -7', "id -7 is not in"),
        (": 7", f": {2**63}", r"id 9223372036854775808 is not in \[0, 9223372036854775807\]"),
        ('"house"', r'"\ud800"', "1 x object: its category has no name"),
        ('"a.png"', r'"\ud800.png"', "'file_name' must be text"),
    ],
)
def test_what_no_bank_can_hold_is_refused(coco, old, new, reason):
    with pytest.raises(BadInput, match=reason) as caught:
        coco((old, new))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (', "license": 4', ""),
        ('"license": 4', '"license": null'),
        ('"license": 4', '"license": NaN'),
        ('"license": 4', '"license": 5'),
        ('"name": "BY"', '"name": null'),
        ('"name": "BY"', r'"name": "\ud800"'),
        ('[{"id": 4, "name": "BY"}]', "null"),
        ('[{"id": 4, "name": "BY"}]', '[7, {"id": 0, "name": "No"}, {"name": "BY"}]'),
    ],
)
def test_a_licence_that_is_not_given_is_unknown(coco, old, new):
    assert coco((old, new)).images[0].licence == ""
    # What the user says holds where the file says nothing.
    assert coco((old, new), licence="CC0").images[0].licence == "CC0"


def test_a_licence_of_number_0_is_that_of_who_names_it(coco):
    zero = ('"id": 4, "name": "BY"', '"id": 0, "name": "BY"')
    assert coco(zero, ('"license": 4', '"license": 0')).images[0].licence == "BY"
    assert coco(zero, (', "license": 4', "")).images[0].licence == ""
    assert coco(('"license": 4', '"license": "CC BY-SA 4.0"')).images[0].licence == "CC BY-SA 4.0"


def test_two_licences_of_one_id_are_refused_only_where_it_is_used(coco):
    two = ('{"id": 4, "name": "BY"}', '{"id": 4, "name": "BY"}, {"id": 4.0, "name": "BY-ND"}')
    with pytest.raises(BadInput, match=r"licenses\[1\]: the licence id 4 is also .*licenses\[0\]"):
        coco(two)
    assert coco(two, ('"license": 4', '"license": 5')).images[0].licence == ""


def test_urls_and_styles_that_are_not_text_are_unknown(coco):
    (image,) = coco(('"license": 4', r'"flickr_url": "\ud800", "coco_url": 3, "style": 5')).images
    assert (image.url, image.objects[0].style) == ("", "")


def test_the_largest_numbers_are_taken(coco):
    wide = ('"width": 60', '"width": 1000000'), ("30, 20]", "900000, 20]")
    (image,) = coco((": 7", f": {2**63 - 1}"), *wide).images
    assert (image.image_id, image.width) == (2**63 - 1, 1000000)


def test_repeats_are_dropped_and_counted(coco):
    source = coco(repeat=3)
    assert len(source.images[0].objects) == 1
    assert source.left_out.counts == {"object: annotated twice": 2}


def test_relationships_are_between_what_is_left(coco):
    other = '}, {"image_id": 7, "category_id": 1, "bbox": [40, 4, 15, 30]}], "categories"'
    (image,) = coco(('}], "categories"', other), repeat=3).images
    assert len(image.objects) == 2
    assert {end for a, _, b in image.relationships for end in (a, b)} == {0, 1}


@pytest.mark.parametrize("share", [float("nan"), -0.1, 1.0])
def test_box_shares_that_are_none(coco, share):
    with pytest.raises(BadInput, match="--min-box-share"):
        coco(min_box_share=share)


def test_a_name_with_an_accent_is_one_category_however_it_is_written(coco, tmp_path):
    together, apart = "b\u00e4ume", "ba\u0308ume"
    for name in (together, apart):
        assert coco(('"house"', f'"{name}"')).categories == (together,)
    (tmp_path / "mine" / apart).mkdir(parents=True)
    (tmp_path / "mine" / apart / "a.png").write_bytes(b"")
    assert folder_source(tmp_path / "mine").categories == (together,)
    (tmp_path / "mine" / together).mkdir()
    (tmp_path / "mine" / together / "b.png").write_bytes(b"")
    with pytest.raises(BadInput, match="occurs twice"):
        folder_source(tmp_path / "mine")


def test_a_picture_is_of_its_root(tmp_path, monkeypatch):
    for root in ("mine", "yours"):
        (tmp_path / root / "tree").mkdir(parents=True)
        (tmp_path / root / "tree" / "a.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "mine")
    ours, theirs = (folder_source(root).images[0] for root in (".", tmp_path / "yours"))
    assert (ours.source, theirs.source) == ("mine/tree/a.png", "yours/tree/a.png")
    assert ours.image_id == image_id_of(ours.source) != theirs.image_id
    assert ours.path == tmp_path / "mine" / "tree" / "a.png"  # workers have other working folders
