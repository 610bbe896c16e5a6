"""`rgan bank build` and `add`: nothing half-made stays, nothing is embedded twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from rgan_tf.backbones import load_backbone
from rgan_tf.bank.lock import bank_lock, building_folder
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.storage.seal import sealed


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def often(monkeypatch):
    """Every picture is a piece of its own."""
    monkeypatch.setattr("rgan_tf.bank.pieces.PIECE_PATCHES", 1)


@pytest.fixture
def interrupted(rgan, folders, tmp_path, backbone, often):
    """A build stopped at its fifth picture; its command."""

    def stop():
        if backbone.calls == 5:
            raise KeyboardInterrupt

    backbone.on_call = stop
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    assert rgan(*words).code == 75
    backbone.on_call = lambda: None
    backbone.calls = 0
    return words


@pytest.mark.parametrize(
    ("like", "reason"),
    [
        (None, "no --like names a bank or data that could lend it one"),
        ("released:procedural_64", "--like released:procedural_64 is a run whose data is not at"),
        ("{bank}", "--like {bank} has no patch of these categories"),
    ],
)
def test_patches_that_are_lent_no_graph_are_told_of(
    rgan, folders, bank, tmp_path, caplog, like, reason
):
    """The bank that could lend has houses and trees, of which the trees are taken away."""
    assert rgan("bank", "remove", bank, "--category", "tree").code == 0
    like = like and like.format(bank=bank)
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    done = rgan(*words, *(("--like", like) if like else ()))
    result = json.loads(done.out)
    assert result["patches_without_graph"] == 5, done.err  # what is lent by the bank is alone too
    assert "have no scene graph of their own" in caplog.text
    assert reason.format(bank=bank) in caplog.text
    assert json.loads(rgan("bank", "info", tmp_path / "new").out)["patches_without_graph"] == 5


def test_patches_that_are_lent_a_graph_are_not_told_of(
    rgan, folders, tiny_world, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr("training.bank.build.load_backbone", load_backbone)  # that of the lender
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    done = rgan(*words, "--like", tiny_world.folder)
    assert json.loads(done.out)["borrowed_graphs"] == 5
    assert json.loads(done.out)["patches_without_graph"] == 0
    assert "scene graph" not in caplog.text


def test_added_patches_without_a_graph_are_counted_alone(bank, more, rgan, caplog):
    done = rgan("bank", "add", bank, "--folders", more)
    assert json.loads(done.out)["patches_without_graph"] == 2
    assert json.loads(done.out)["borrowed_graphs"] == 0
    assert "2 of 2 patches have no scene graph of their own (tree)" in caplog.text


def test_a_category_that_the_model_does_not_know_names_near_ones(refused, draw, tmp_path):
    draw(tmp_path / "odd" / "hous" / "0.png", 1)
    words = ("--folders", tmp_path / "odd", "--like", "released:procedural_64")
    line = refused("bank", "build", *words, "--out", tmp_path / "new")
    assert "did you mean 'house'" in line and "rgan vocabulary" in line


def test_an_exported_model_lends_nothing(refused, folders, tmp_path):
    (tmp_path / "model" / "1" / "assets.extra").mkdir(parents=True)
    words = ("--folders", folders, "--like", tmp_path / "model")
    assert "name a model written by rgan export" in refused(
        "bank", "build", *words, "--out", tmp_path / "new"
    )


def test_a_build_goes_on_where_it_stopped(interrupted, rgan, tmp_path, backbone):
    done = rgan(*interrupted)
    assert done.code == 0 and '"resumed_at": 4' in done.out and backbone.calls == 1
    assert names_in(tmp_path) == {"mine", "new"}
    PatchBank.open(tmp_path / "new").verify()


def test_a_picture_that_was_replaced_meanwhile_is_embedded_again(
    interrupted, folders, rgan, tmp_path, backbone, draw, caplog, content_of
):
    draw(folders / "house" / "1.png", 77)
    done = rgan(*interrupted)
    assert done.code == 0 and '"resumed_at": 3' in done.out and backbone.calls == 2
    assert "1 images of it, first mine/house/1.png, have changed since" in caplog.text
    assert rgan("bank", "build", "--folders", folders, "--out", tmp_path / "straight").code == 0
    assert content_of(tmp_path / "new") == content_of(tmp_path / "straight")


def test_a_picture_of_the_same_size_and_another_content_was_replaced(
    interrupted, folders, rgan, backbone
):
    path = folders / "house" / "1.png"
    size = path.stat().st_size
    Image.new("RGB", (60, 40)).save(path, "PNG")
    path.write_bytes(path.read_bytes().ljust(size, b"\0"))
    assert '"resumed_at": 3' in rgan(*interrupted).out and backbone.calls == 2


@pytest.mark.parametrize("what", ["touched", "copied", "gone"])
def test_pictures_that_hold_the_same_or_are_away_are_not_embedded_again(
    interrupted, folders, rgan, backbone, caplog, what
):
    path = folders / "house" / "1.png"
    if what == "touched":
        os.utime(path, ns=(1, 1))
    elif what == "copied":
        shutil.copyfile(path, path.with_suffix(".copy"))
        path.with_suffix(".copy").rename(path)
    else:  # a link whose disk is away
        path.unlink()
        path.symlink_to("away.png")
    done = rgan(*interrupted)
    assert done.code == 0 and '"resumed_at": 4' in done.out and backbone.calls == 1
    assert "have changed" not in caplog.text


def test_a_second_build_leaves_the_first_ones_files_alone(
    interrupted, refused, tmp_path, content_of
):
    working = building_folder(tmp_path / "new")
    shutil.rmtree(working / "pieces")  # before its first piece there is nothing to resume from
    before = content_of(working)
    with bank_lock(tmp_path / "new"):
        line = refused(*interrupted)
        assert "another process is making or changing this bank" in line
    assert content_of(working) == before


@pytest.mark.parametrize("name", ["crops.npy", "table.jsonl", "graph_ends.npy"])
@pytest.mark.parametrize("damage", ["missing", "short", "no header"])
def test_what_was_begun_and_is_damaged_is_named(interrupted, refused, tmp_path, name, damage):
    path = building_folder(tmp_path / "new") / "pieces" / "000001" / name
    data = path.read_bytes()
    path.unlink()
    if damage == "short":
        path.write_bytes(data[:-40])
    elif damage == "no header":
        path.write_bytes(bytes(len(data)) if name != "table.jsonl" else data[:-1])
    line = refused(*interrupted, code=4)
    assert str(path) in line and f"{path.parent}: was finished and is now damaged" in line


def test_a_damaged_piece_that_is_deleted_is_made_again(interrupted, rgan, tmp_path, backbone):
    shutil.rmtree(building_folder(tmp_path / "new") / "pieces" / "000001")
    done = rgan(*interrupted)
    assert '"resumed_at": 3' in done.out and backbone.calls == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", None])
def test_a_damaged_note_of_what_was_begun_is_named(interrupted, refused, tmp_path, content):
    path = building_folder(tmp_path / "new") / "begun.json"
    path.write_bytes(
        path.read_bytes().replace(b'"source"', b'"course"') if content is None else content
    )
    line = refused(*interrupted, code=4)
    assert f"{path}: damaged" in line and f"delete {path.parent} and start again" in line


def test_a_finished_addition_is_not_embedded_again(
    bank, more, rgan, refused, backbone, monkeypatch, content_of, tmp_path
):
    """A disk too full for the copy costs the copy only."""
    before, words = content_of(bank), ("bank", "add", bank, "--folders", more)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("training.bank.build.copy_banks", full)
        assert f"{bank}: No space left" in refused(*words, code=2)
    assert content_of(bank) == before
    calls = backbone.calls
    done = rgan(*words)
    assert done.code == 0 and backbone.calls == calls
    assert '"resumed_at": 2' in done.out and '"added": 2' in done.out
    assert names_in(tmp_path) == {"bank", "mine", "more"}
    PatchBank.open(bank).verify()


def test_a_finished_bank_whose_name_was_taken_is_not_embedded_again(
    folders, rgan, refused, backbone, tmp_path
):
    out = tmp_path / "new"
    words = ("bank", "build", "--folders", folders, "--out", out)
    backbone.on_call = lambda: (out / "x").mkdir(parents=True)
    assert f"--out {out}" not in refused(*words)
    shutil.rmtree(out)
    assert rgan(*words).code == 0 and backbone.calls == 1
    assert names_in(tmp_path) == {"mine", "new"}


def test_a_finished_bank_that_is_damaged_is_refused(folders, refused, backbone, tmp_path):
    out = tmp_path / "new"
    words = ("bank", "build", "--folders", folders, "--out", out)
    backbone.on_call = lambda: out.symlink_to("nowhere")
    refused(*words)
    out.unlink()
    path = building_folder(out) / "pieces" / "000000" / "crops.npy"
    path.write_bytes(path.read_bytes()[:-1])
    line = refused(*words, code=4)
    assert "crops.npy" in line and f"{path.parent}: was finished and is now damaged" in line
    other = ("bank", "build", "--folders", folders, "--out", out, "--source-licence", "BY")
    assert "delete the folder" in refused(*other)


def test_other_options_and_weights_do_not_take_what_was_finished(
    folders, refused, rgan, backbone, tmp_path
):
    out = tmp_path / "new"
    words = ("bank", "build", "--folders", folders, "--out", out)
    backbone.on_call = lambda: out.symlink_to("nowhere")
    refused(*words)
    out.unlink()
    assert "begun from other images, options or" in refused(*words, "--source-licence", "BY")
    backbone.scale = 2.0
    assert "or weights of the backbone" in refused(*words)
    note = building_folder(out) / "begun.json"
    begun = json.loads(note.read_text())
    del begun["weights"]  # as earlier versions wrote it
    note.write_text(json.dumps(sealed(begun)))
    assert '"resumed_at": 5' in rgan(*words).out


def test_nothing_is_added_by_other_weights_than_those_of_the_bank(
    bank, folders, more, refused, backbone, content_of, tmp_path
):
    """Its patches would lie among those of the bank, in a space of their own."""
    before, backbone.scale = content_of(bank), 2.0
    line = refused("bank", "add", bank, "--folders", more)
    assert f"{bank}: its features were made with other weights of mobilenet_v2" in line
    words = ("--folders", folders, "--like", bank, "--out", tmp_path / "new")
    assert "were made with other weights" in refused("bank", "build", *words)
    assert content_of(bank) == before and names_in(tmp_path) == {"bank", "mine", "more"}


def test_fewer_bad_images_may_be_allowed_than_before(folders, refused, backbone, tmp_path):
    (folders / "tree" / "0.png").write_bytes(b"")
    out = tmp_path / "new"
    words = ("bank", "build", "--folders", folders, "--out", out)
    backbone.on_call = lambda: out.symlink_to("nowhere")
    refused(*words, "--max-bad", 0.5)
    out.unlink()
    assert "--max-bad allows 0 such images, 1 were found" in refused(*words, code=4)


def test_an_image_that_was_repaired_is_no_longer_left_out(
    folders, rgan, refused, backbone, tmp_path, draw, often
):
    """What was finished before, with the image left out, does not stand."""
    for path in (folders / "house" / "0.png", folders / "tree" / "0.png"):
        path.write_bytes(b"")
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    assert "2 were found" in refused(*words, "--max-bad", 0.2, code=4)  # at the fourth picture
    draw(folders / "house" / "0.png", 0)
    done = rgan(*words, "--max-bad", 0.2)
    assert done.code == 0 and '"patches": 4' in done.out, done.err
    assert '"resumed_at": 2' in done.out and backbone.calls == 4
    draw(folders / "tree" / "0.png", 10)
    straight = rgan("bank", "build", "--folders", folders, "--out", tmp_path / "straight")
    assert straight.code == 0 and '"patches": 5' in straight.out


def test_too_many_bad_images_end_a_build_when_they_are_met(
    folders, refused, backbone, tmp_path, often
):
    """However few of them are in one piece."""
    for number in range(2):
        (folders / "house" / f"{number}.png").write_bytes(b"")
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new", "--max-bad", 0.2)
    assert "--max-bad allows 1 such images, 2 were found" in refused(*words, code=4)
    assert backbone.calls == 0


def test_the_bank_of_prepared_data_is_merged_and_not_added(bank, refused, content_of):
    before = content_of(bank)
    assert "build it and use rgan bank merge" in refused("bank", "add", bank, "--data", bank)
    assert content_of(bank) == before


def test_duplicates_are_found_before_anything_is_embedded(
    bank, folders, rgan, refused, backbone, content_of, draw, tmp_path
):
    before, calls = content_of(bank), backbone.calls
    line = refused("bank", "add", bank, "--folders", folders)
    assert f"{folders}: house of mine/house/0.png is already patch 0 of {bank}" in line
    done = rgan("bank", "add", bank, "--folders", folders, "--skip-duplicates")
    assert done.code == 0 and '"added": 0' in done.out and '"duplicates": 5' in done.out
    assert backbone.calls == calls and content_of(bank) == before
    draw(folders / "tree" / "new.png", 40)
    done = rgan("bank", "add", bank, "--folders", folders, "--skip-duplicates")
    assert '"added": 1' in done.out and '"duplicates": 5' in done.out and '"images": 1' in done.out
    assert names_in(tmp_path) == {"bank", "mine"}


def test_duplicates_under_refused_licences_do_not_count(bank, folders, refused):
    words = ("bank", "add", bank, "--folders", folders, "--licence", "BY")
    assert "no image is left under BY" in refused(*words)


def test_pictures_of_one_name_in_two_folders_are_two(bank, rgan, draw, tmp_path):
    draw(tmp_path / "yours" / "house" / "0.png", 50)
    assert rgan("bank", "add", bank, "--folders", tmp_path / "yours").code == 0
    rows = list(PatchBank.open(bank).rows)
    assert (rows[0]["source"], rows[5]["source"]) == ("mine/house/0.png", "yours/house/0.png")
    assert rows[0]["image_id"] != rows[5]["image_id"]


def test_the_folder_of_images_may_be_the_one_we_are_in(coco, rgan, tmp_path, monkeypatch):
    monkeypatch.chdir(coco.images)
    words = ("bank", "build", "--coco", coco.path, "--images", ".", "--out", tmp_path / "new")
    assert rgan(*words).code == 0
    assert PatchBank.open(tmp_path / "new").rows[0]["source"] == "photos/0.jpg"


def test_what_is_annotated_twice_is_taken_once(coco, rgan, bank, tmp_path):
    coco.content["annotations"].append(coco.content["annotations"][0])
    coco.write()
    words = ("--coco", coco.path, "--images", coco.images)
    done = rgan("bank", "build", *words, "--out", tmp_path / "new")
    assert done.code == 0 and '"object: annotated twice": 1' in done.out
    assert len(PatchBank.open(tmp_path / "new")) == 3
    assert '"added": 3' in rgan("bank", "add", bank, *words).out


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        (["tree", "tree "], "category 'tree' occurs twice"),
        (["tree", " "], "category '' is empty"),
        (["__image__"], "category '__image__' is a name reserved by the model"),
    ],
)
def test_categories_that_cannot_be_are_named(draw, refused, tmp_path, categories, reason):
    root = tmp_path / "odd"
    for category in categories:
        draw(root / category / "a.png", 1)
    line = refused("bank", "build", "--folders", root, "--out", tmp_path / "new")
    assert line == f"rgan bank: {root}: {line.split(f'{root}: ')[1]}" and reason in line
    assert "rename it" in line and names_in(tmp_path) == {"odd"}


@pytest.mark.parametrize("what", ["picture", "category", "root"])
def test_names_that_are_not_text_are_refused(draw, refused, tmp_path, what):
    bad = os.fsdecode(b"a\xff")
    root = tmp_path / ("mine" if what != "root" else bad)
    draw(root / ("tree" if what != "category" else bad) / "a.png", 1)
    if what == "picture":
        (root / "tree" / "a.png").rename(root / "tree" / f"{bad}.png")
    line = refused("bank", "build", "--folders", root, "--out", tmp_path / "new")
    assert "is not UTF-8; rename it" in line


def test_links_of_ones_own_are_followed(draw, rgan, tmp_path):
    draw(tmp_path / "store" / "a.png", 1)
    root = tmp_path / "mine"
    (root / "tree").mkdir(parents=True)
    (root / "tree" / "b.png").symlink_to(tmp_path / "store" / "a.png")
    (root / "house").symlink_to(tmp_path / "store")
    done = rgan("bank", "build", "--folders", root, "--out", tmp_path / "new")
    assert done.code == 0, done.err
    rows = list(PatchBank.open(tmp_path / "new").rows)
    assert [row["source"] for row in rows] == ["mine/house/a.png", "mine/tree/b.png"]
    assert [(row["licence"], row["url"]) for row in rows] == [("", "")] * 2


def test_categories_claimed_twice_are_refused_with_other_names_too(bank, draw, refused, tmp_path):
    for folder in ("tree", "tree "):
        draw(tmp_path / "odd" / folder / "a.png", 1)
    for words in (("build", "--out", tmp_path / "new", "--like", bank), ("add", bank)):
        line = refused("bank", *words, "--folders", tmp_path / "odd")
        assert "category 'tree' occurs twice, as 'tree' and 'tree '" in line


def test_bad_entries_and_bad_images_count_together(coco, rgan, refused, tmp_path):
    image = coco.content["images"][1]
    coco.content["images"] += [image | {"id": "x"}, image | {"id": 7, "file_name": "none.jpg"}]
    coco.content["annotations"].append(coco.content["annotations"][0] | {"image_id": 7})
    coco.write()
    words = ("bank", "build", "--coco", coco.path, "--images", coco.images, "--max-bad")
    for share, met in ((0.1, 1), (0.3, 2)):
        line = refused(*words, share, "--out", tmp_path / "few")
        assert f"--max-bad allows {met - 1} such images, {met} were found" in line
    done = rgan(*words, 0.5, "--out", tmp_path / "new")
    assert done.code == 0 and '"images": 2' in done.out
    bad = json.loads(done.out)["bad_images"]
    assert ["'id' must be" in bad[0], "none.jpg: No such file" in bad[1]] == [True, True]


def test_the_result_names_what_was_left_out(coco, rgan, tmp_path):
    coco.content["annotations"].append({"image_id": 0, "category_id": 9, "bbox": [0, 0, 9, 9]})
    coco.write()
    words = ("--coco", coco.path, "--images", coco.images, "--out", tmp_path / "new")
    result = json.loads(rgan("bank", "build", *words).out)
    reason = "object: its category is not listed"
    assert result["skipped"] == {reason: 1}
    assert result["skipped_first"] == {reason: ["photos.json annotations[3]: category_id 9"]}


def test_a_path_that_is_not_text_can_hold_pictures_and_a_bad_one(draw, rgan, tmp_path):
    root = tmp_path / os.fsdecode(b"a\xff") / "mine"
    for name in "abc":
        draw(root / "tree" / f"{name}.png", 1)
    (root / "tree" / "b.png").write_bytes(b"")
    (root / "tree" / os.fsdecode(b"d\xff.png")).touch()
    words = ("bank", "build", "--folders", root, "--out", tmp_path / "new", "--max-bad", 0.5)
    done = rgan(*words)
    assert done.code == 0, done.err
    name, image = json.loads(done.out)["bad_images"]
    assert "udcff" in name and "udcff" not in image  # of an image its name tells which


@pytest.mark.parametrize(
    ("source", "option"),
    [
        ("--data", "--source-licence"),
        ("--data", "--source-url"),
        ("--data", "--min-box-share"),
        ("--data", "--max-bad"),
        ("--coco", "--source-url"),
        ("--folders", "--min-box-share"),
    ],
)
def test_options_that_a_source_does_not_read_are_refused(
    coco, folders, refused, tmp_path, source, option
):
    """A licence that is given and not written would be missed only when it is too late."""
    words = {
        "--data": ("--data", tmp_path),
        "--coco": ("--coco", coco.path, "--images", coco.images),
        "--folders": ("--folders", folders),
    }[source]
    line = refused("bank", "build", *words, "--out", tmp_path / "new", option, "0.5")
    assert f"{option}: is only read with --" in line and f"not with {source}; leave it" in line
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", ["--source-licence", "--source-url"])
def test_options_that_are_not_text_are_refused(folders, refused, tmp_path, option):
    words = ("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    assert f"{option} 'a\\udcff': is not UTF-8" in refused(*words, option, os.fsdecode(b"a\xff"))


@pytest.mark.parametrize("share", ["nan", "-1", "1", "inf"])
def test_box_shares_that_are_none(coco, refused, tmp_path, share):
    words = ("--coco", coco.path, "--images", coco.images, f"--min-box-share={share}")
    line = refused("bank", "build", *words, "--out", tmp_path / "new")
    assert "--min-box-share must be a share in [0, 1)" in line


@pytest.mark.parametrize("what", ["link", "file", "full"])
def test_a_name_that_is_taken_is_refused_before_any_work(
    folders, refused, tmp_path, backbone, what
):
    out = tmp_path / "new"
    if what == "link":
        out.symlink_to("nowhere")
    elif what == "file":
        out.write_bytes(b"")
    else:
        (out / "x").mkdir(parents=True)
    line = refused("bank", "build", "--folders", folders, "--out", out)
    assert f"--out {out}: " in line and backbone.calls == 0
    assert names_in(tmp_path) == {"mine", "new"}


def test_like_a_folder_whose_manifest_is_not_an_object(folders, refused, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "manifest.json").write_text("[]")
    words = ("bank", "build", "--folders", folders, "--like", tmp_path / "odd")
    assert "not a patch bank" in refused(*words, "--out", tmp_path / "new")


def test_a_pipe_is_not_a_picture(folders, refused, tmp_path):
    os.mkfifo(folders / "tree" / "x.png")
    line = refused("bank", "build", "--folders", folders, "--out", tmp_path / "new")
    assert "x.png: is not a regular file" in line


def turned(path: Path, draw) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees
    draw(path, 60, exif=exif, quality=95)


def test_a_photograph_is_turned_where_only_so_its_annotation_fits(coco, rgan, draw, tmp_path):
    """As where the annotator's program turned it. Else boxes refer to the pixels as stored."""
    turned(coco.images / "0.jpg", draw)
    words = ("bank", "build", "--coco", coco.path, "--images", coco.images, "--out")
    assert rgan(*words, tmp_path / "stored").code == 0
    shape = coco.content["images"][0]
    shape["width"], shape["height"] = shape["height"], shape["width"]
    coco.write()
    assert rgan(*words, tmp_path / "turned").code == 0
    stored, other = (PatchBank.open(tmp_path / name) for name in ("stored", "turned"))
    assert (stored.crops[0] != other.crops[0]).any()
    assert (stored.crops[-1] == other.crops[-1]).all()


def test_a_photograph_that_fits_neither_way_is_refused_with_its_tag(coco, refused, draw, tmp_path):
    turned(coco.images / "0.jpg", draw)
    coco.content["images"][0]["width"] = 500
    coco.write()
    words = ("bank", "build", "--coco", coco.path, "--images", coco.images, "--out")
    line = refused(*words, tmp_path / "new", code=4)
    assert "is 60x40 as stored, the other way by its EXIF tag, its annotation says 500x40" in line
