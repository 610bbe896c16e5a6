from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgan_tf.bank.patch_queue import cut_patch
from rgan_tf.config import Config, DataConfig
from rgan_tf.config_files import config_from_dict
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.data.records import read_scenes
from rgan_tf.data.scenes import SceneStore
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.graph.fit import fit_graph
from rgan_tf.spread import Engine
from rgan_tf.storage.image import decode_image, read_image, resize_image
from rgan_tf.vocabulary import Vocabulary


def test_records_and_banks_hold_what_was_annotated(prepared, small_dataset):
    prepared.verify()
    assert prepared.image_size == 32
    assert prepared.vocabulary.categories == ("car", "dog", "grass", "person", "sky")
    for split, images in small_dataset.splits.items():
        assert prepared.record_count(split) == len(images)
        bank = prepared.truth(split)
        scenes = list(read_scenes(prepared.record_paths(split)))
        assert [scene.image_id for scene in scenes] == [image.image_id for image in images]
        assert len(bank) == sum(len(image.objects) for image in images)
        for scene, image in zip(scenes, images, strict=True):
            pixels = read_image(image.path)
            stored = decode_image(scene.image, "test")
            np.testing.assert_array_equal(stored, resize_image(pixels, 32))
            names = [prepared.vocabulary.object_name(int(item)) for item in scene.categories]
            assert names == [item.category for item in image.objects]
            triples = [
                (int(s), prepared.vocabulary.predicate_name(int(p)), int(o))
                for s, p, o in scene.triples
            ]
            assert triples == list(image.relationships)
            for index, item in enumerate(image.objects):
                row = int(scene.patch_rows[index])
                assert bank.rows[row] == {
                    "category": item.category,
                    "category_id": int(scene.categories[index]),
                    "image_id": image.image_id,
                    "object_index": index,
                    "box": [round(edge, 6) for edge in item.box],
                    "licence": "Attribution License",
                    "url": f"http://example.org/{image.image_id}",
                    "source": image.source,
                    "style": "",
                }
                np.testing.assert_array_equal(
                    bank.crops[row], cut_patch(Image.fromarray(pixels), item.box, 64)
                )
                mean = bank.crops[row].mean(axis=(0, 1)) / 255
                np.testing.assert_allclose(bank.features[row, :3], mean, atol=1e-3)


def test_only_training_patches_can_be_retrieved(prepared, small_dataset):
    training = {image.image_id for image in small_dataset.splits["train"]}
    assert set(prepared.bank.image_ids) == training
    assert prepared.bank is prepared.truth("train")


def test_patches_are_cut_by_the_box():
    pixels = np.zeros([40, 80, 3], np.uint8)
    pixels[10:20, 40:60] = (200, 100, 50)
    patch = cut_patch(Image.fromarray(pixels), (0.25, 0.5, 0.5, 0.75), 64)
    assert patch.size == (64, 64)
    assert (np.asarray(patch) == (200, 100, 50)).all()


def test_categories_that_train_has_no_object_of_are_named(
    small_dataset, backbone, tmp_path, caplog
):
    def renamed(image, names):
        objects = [
            dataclasses.replace(item, category=names.get(item.category, item.category))
            for item in image.objects
        ]
        return dataclasses.replace(image, objects=tuple(objects))

    val = small_dataset.splits["val"]
    number = sum(item.category == "car" for image in val for item in image.objects)
    for names, told in (({}, None), ({"car": "Car"}, f": Car ({number}; train has car); no model")):
        changed = tuple(renamed(image, names) for image in val)
        dataset = dataclasses.replace(
            small_dataset,
            splits={**small_dataset.splits, "val": changed},
            categories=(*small_dataset.categories, "Car", "never used"),
        )
        out = tmp_path / f"data of {len(names)}"
        prepare_dataset(dataset, out, image_size=32, backbone=backbone, progress=False)
        assert "train has no object" not in caplog.text if told is None else told in caplog.text


def test_the_same_input_gives_the_same_folder(prepared, small_dataset, backbone, tmp_path):
    prepare_dataset(
        small_dataset, tmp_path / "again", image_size=32, backbone=backbone, progress=False
    )
    assert PreparedData.open(tmp_path / "again").fingerprint == prepared.fingerprint
    other = prepare_dataset(
        small_dataset, tmp_path / "other", image_size=16, backbone=backbone, progress=False
    )
    assert other["image_size"] == 16
    assert PreparedData.open(tmp_path / "other").fingerprint != prepared.fingerprint


@pytest.fixture
def copied(prepared_folder, tmp_path):
    return shutil.copytree(prepared_folder, tmp_path / "copy")


def names_of_files(folder):
    return sorted(json.loads((folder / "manifest.json").read_text())["files"])


def test_every_file_is_covered(copied):
    named = set(names_of_files(copied))
    there = {path.relative_to(copied).as_posix() for path in copied.rglob("*") if path.is_file()}
    assert there == named | {"manifest.json"}
    for name in named:
        path = copied / name
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(CorruptData, match=path.name):
            PreparedData.open(copied).verify()
        path.write_bytes(data[:-1])
        with pytest.raises(CorruptData, match=path.name):
            PreparedData.open(copied)
        path.unlink()
        with pytest.raises(CorruptData, match=f"{path.name}: is missing"):
            PreparedData.open(copied)
        path.write_bytes(data)
    PreparedData.open(copied).verify()


def test_folders_that_are_not_data(tmp_path, copied):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(BadInput, match="made by rgan prepare"):
            PreparedData.open(folder)
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())
    for change, message in (
        ({"kind": "else"}, "not a folder made by rgan prepare"),
        ({"version": 7}, "version 7 of a folder made by rgan prepare"),
        ({"vocabulary_sha256": "0" * 64}, "not the vocabulary"),
    ):
        path.write_text(json.dumps(manifest | change))
        with pytest.raises((BadInput, CorruptData), match=message):
            PreparedData.open(copied)
    for splits in (3, {}, manifest["splits"] | {"val": {"images": "4", "shards": []}}):
        path.write_text(json.dumps(manifest | {"splits": splits}))
        with pytest.raises(CorruptData, match="manifest.json: splits.* is damaged"):
            PreparedData.open(copied)
    path.write_text("{")
    with pytest.raises(CorruptData, match="manifest.json: damaged"):
        PreparedData.open(copied)
    path.write_text(json.dumps({key: manifest[key] for key in ("kind", "version", "files")}))
    with pytest.raises(CorruptData, match="lacks backbone"):
        PreparedData.open(copied)


def test_numbers_of_a_reader_of_ones_own_may_be_numpys(prepared, small_dataset, backbone, tmp_path):
    def numpys(image):
        return dataclasses.replace(
            image,
            image_id=np.int64(image.image_id),
            objects=tuple(
                dataclasses.replace(
                    item,
                    category=np.str_(item.category),
                    box=np.array(item.box, np.float32),
                    centre=np.array(item.centre),
                )
                for item in image.objects
            ),
            relationships=tuple(
                (np.int32(subject), np.str_(name), np.int32(target))
                for subject, name, target in image.relationships
            ),
        )

    splits = {split: tuple(map(numpys, images)) for split, images in small_dataset.splits.items()}
    counted = {"train": {"image: blurred": np.int64(3)}}
    dataset = dataclasses.replace(small_dataset, splits=splits, skipped=counted)
    prepare_dataset(
        dataset,
        tmp_path / "data",
        image_size=np.int64(32),
        backbone=backbone,
        seed=np.int64(7),
        progress=False,
    )
    data = PreparedData.open(tmp_path / "data")
    assert list(data.bank.rows) == list(prepared.bank.rows)
    assert (data.manifest["skipped"], data.manifest["seed"]) == (counted, 7)


def test_images_without_objects_are_left_out_counted_and_named(
    prepared, small_dataset, backbone, tmp_path
):
    first = small_dataset.splits["train"][0]
    empty = dataclasses.replace(
        first, image_id=999, objects=(), relationships=(), path=tmp_path / "none", source="e.png"
    )
    splits = {**small_dataset.splits, "train": (empty, *small_dataset.splits["train"])}
    dataset = dataclasses.replace(
        small_dataset, splits=splits, skipped={"train": {"image: without objects": 2}}
    )
    result = prepare_dataset(dataset, tmp_path / "data", backbone=backbone, progress=False)
    assert result["skipped"] == {"train": {"image: without objects": 3}}
    assert result["skipped_first"]["train"] == {"image: without objects": ["image 999: e.png"]}
    data = PreparedData.open(tmp_path / "data")
    assert list(data.bank.rows) == list(prepared.bank.rows)
    assert data.record_count("train") == prepared.record_count("train")


@pytest.mark.parametrize("has_an_empty_image", [True, False])
def test_a_split_without_any_object_is_refused_before_any_image_is_read(
    small_dataset, backbone, tmp_path, has_an_empty_image
):
    image = dataclasses.replace(small_dataset.splits["val"][0], objects=(), relationships=())
    splits = {**small_dataset.splits, "val": (image,) if has_an_empty_image else ()}
    dataset = dataclasses.replace(small_dataset, splits=splits)
    named = rf" \(first: image {image.image_id}: .*\)" if has_an_empty_image else ""
    with pytest.raises(
        BadInput, match=f"val has no image with an object{named}; give it at least one"
    ):
        prepare_dataset(dataset, tmp_path / "data", backbone=backbone, progress=False)
    assert not (tmp_path / "data").exists()


def test_a_reader_of_ones_own_may_write_an_accent_either_way(small_dataset, backbone, tmp_path):
    """The names of its objects, and those of its lists, are of one form in what is written."""
    category, predicate = small_dataset.categories[0], small_dataset.predicates[0]
    names = {category: "ba\u0308ume", predicate: "u\u0308ber"}

    def named(image):
        objects = (
            dataclasses.replace(item, category=names.get(item.category, item.category))
            for item in image.objects
        )
        links = ((s, names.get(name, name), o) for s, name, o in image.relationships)
        return dataclasses.replace(image, objects=tuple(objects), relationships=tuple(links))

    dataset = dataclasses.replace(
        small_dataset,
        splits={split: tuple(map(named, images)) for split, images in small_dataset.splits.items()},
        categories=("b\u00e4ume", *small_dataset.categories[1:]),
        predicates=("u\u0308ber", *small_dataset.predicates[1:]),
    )
    prepare_dataset(dataset, tmp_path / "data", image_size=32, backbone=backbone, progress=False)
    data = PreparedData.open(tmp_path / "data")
    assert "b\u00e4ume" in data.vocabulary.categories and "\u00fcber" in data.vocabulary.predicates
    found = {row["category"] for row in data.bank.rows}
    assert "b\u00e4ume" in found and found <= set(data.vocabulary.categories)


@pytest.mark.parametrize(
    "change, wrong",
    [
        *(({"image_size": value}, "image_size") for value in (None, "128", [], 1.5, True, -1)),
        ({"crop_size": None}, "crop_size"),
        ({"backbone": None}, "backbone"),
        *(({"splits": value}, "splits") for value in (None, [], {}, "train", 3)),
        *(
            ({"splits": {"train": value}}, "splits: train")
            for value in (
                None,
                "x",
                {"shards": []},
                {"images": None, "shards": []},
                {"images": 1, "shards": None},
                {"images": 1, "shards": [None]},
            )
        ),
    ],
)
def test_a_field_that_is_of_no_use_is_named(copied, change, wrong):
    path = copied / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CorruptData, match=f"manifest.json: {wrong} is damaged"):
        PreparedData.open(copied)


def test_an_editor_may_have_changed_how_the_manifest_is_written(copied):
    path = copied / "manifest.json"
    text = path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert PreparedData.open(copied).record_count("train") > 0


def test_a_missing_record_is_noticed(copied, prepared):
    (path,) = prepared.record_paths("val")
    with pytest.raises(CorruptData, match="4 records, the manifest says 5"):
        SceneStore([path], expected=5, image_size=16, max_objects=8, max_triples=8)
    with pytest.raises(CorruptData, match="4 records, the manifest says 3"):
        SceneStore([path], expected=3, image_size=16, max_objects=8, max_triples=8)


def test_configs_and_vocabularies_that_do_not_fit(prepared):
    config = Config(data=dataclasses.replace(Config().data, image_size=32))
    prepared.check_config(config)
    for change, message in (
        ({"data": {"image_size": 64}}, "images of 32 px, the config wants 64"),
        ({"data": {"image_size": 32, "crop_size": 128}}, "crops of 64 px"),
        (
            {"data": {"image_size": 32}, "retrieval": {"backbone": "resnet50"}},
            "--backbone resnet50, or set retrieval.backbone=mobilenet_v2$",
        ),
    ):
        with pytest.raises(BadInput, match=message):
            prepared.check_config(config_from_dict(change))
    prepared.check_vocabulary(prepared.vocabulary, "run")
    with pytest.raises(BadInput, match="another vocabulary than run"):
        prepared.check_vocabulary(Vocabulary.from_categories(["cat"]), "run")
    with pytest.raises(BadInput, match="no split 'dev'"):
        prepared.truth("dev")


def with_bad_image(dataset, path, change):
    """The data set with a copy of its second training image changed on disk."""
    image = dataset.splits["train"][1]
    shutil.copy(image.path, path)
    change(path)
    bad = dataclasses.replace(image, path=path)
    images = (dataset.splits["train"][0], bad, *dataset.splits["train"][2:])
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": images})


def truncate(path):
    path.write_bytes(path.read_bytes()[:300])


def stretch(path):
    Image.new("RGB", (40, 40)).save(path)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (truncate, CorruptData, "damaged"),
        (lambda path: path.unlink(), BadInput, "No such file"),
        (lambda path: path.write_bytes(b""), CorruptData, "empty"),
        (lambda path: path.write_text("text"), BadInput, "not a PNG or JPEG"),
        (stretch, CorruptData, "40x40, its annotation says 80x40"),
    ],
)
def test_bad_images_leave_nothing_half_written(
    small_dataset, backbone, tmp_path, change, error, message
):
    dataset = with_bad_image(small_dataset, tmp_path / "bad.png", change)
    with pytest.raises(error, match=f"bad.png.*{message}") as caught:
        prepare_dataset(dataset, tmp_path / "out", backbone=backbone, progress=False)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "bad.png"] == []


def test_a_share_of_bad_images_can_be_allowed(small_dataset, backbone, tmp_path):
    dataset = with_bad_image(small_dataset, tmp_path / "bad.png", truncate)
    settings = {"image_size": 16, "backbone": backbone, "progress": False}
    with pytest.raises(CorruptData):
        prepare_dataset(dataset, tmp_path / "out", max_bad=0.05, **settings)  # 1 of 19 is 0.053
    manifest = prepare_dataset(dataset, tmp_path / "out", max_bad=0.06, **settings)
    assert len(manifest["bad_images"]) == 1
    assert manifest["bad_images"][0].startswith("images/train2017/2.png: image bad.png: ")
    data = PreparedData.open(tmp_path / "out")
    scenes = list(read_scenes(data.record_paths("train")))
    assert data.record_count("train") == len(scenes) == 10
    assert np.concatenate([scene.patch_rows for scene in scenes]).tolist() == list(
        range(len(data.bank))
    )


def test_unusable_requests(small_dataset, backbone, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    for out, others, message in (
        (tmp_path / "full", {}, "not empty"),
        (tmp_path / "a", {"image_size": 8}, "--size"),
        (tmp_path / "a", {"max_bad": 1.5}, "--max-bad"),
        (tmp_path / "a", {"backbone": "vgg999"}, "vgg999"),
    ):
        with pytest.raises(BadInput, match=message):
            prepare_dataset(
                small_dataset, out, **{"backbone": backbone, "progress": False, **others}
            )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full"]


def test_what_a_reader_of_ones_own_may_get_wrong(small_dataset, backbone, tmp_path):
    first, *others = small_dataset.splits["train"]

    def with_first(**changes):
        image = dataclasses.replace(first, **changes)
        return {**small_dataset.splits, "train": (image, *others)}

    def with_object(**changes):
        item = dataclasses.replace(first.objects[0], **changes)
        return with_first(objects=(item, *first.objects[1:]))

    cases = (
        ({"train": (), "test": ()}, "has no split val"),
        (with_object(box=(5.0, 10.0, 25.0, 40.0)), "object 0: box .* as fractions"),
        (with_object(box=(0.0, 0.0, 0.5)), "object 0: box .* as fractions"),
        (with_object(box=(0.0, 0.0, "0.5", 0.5)), "object 0: box: must be a list of four numbers"),
        (with_object(box=None), "object 0: box: must be a list of four numbers, got None"),
        (with_object(centre=(12.0, 20.0)), r"object 0: centre \(12.0, 20.0\) must be .* fractions"),
        (with_object(centre=(float("nan"), 0.5)), "object 0: centre .* as fractions"),
        (with_object(category="dogg"), "object 0: category 'dogg' is not one of the data set's"),
        (
            with_first(relationships=((0, "abov", 1),)),
            "'abov', 1.* is not one of the .* predicates",
        ),
        (with_first(licence=None), "licence None: must be text, empty if unknown"),
        (with_first(path=None), f"image {first.image_id} of train: path None: must name the image"),
        (with_first(width="40"), "width '40': must be a number"),
        (with_first(objects=None), "objects: must be a tuple of AnnotatedObject, got None"),
        (with_first(objects=({"category": "dog"},)), "objects: .* AnnotatedObject, and holds {'ca"),
        (with_object(style=None), "object 0: style None: must be text"),
        (with_first(relationships=None), "relationships: must be a tuple of triples, got None"),
        (with_first(relationships=((0, "above"),)), r"'above'\): must be \(subject, predic"),
        (with_first(relationships=((0.5, "above", 1),)), "position 0.5: must be a whole number"),
        (with_first(relationships=(("0", "above", 1),)), "position '0': must be a whole number"),
        ({**small_dataset.splits, "train": ({"image_id": 1},)}, "train: must be a list of Annot"),
        ({**small_dataset.splits, "train": iter([first])}, "train: must be a tuple of AnnotatedIm"),
        ({**small_dataset.splits, "test2": ()}, "its split 'test2' is not one of .*leave it out"),
        (None, "splits must map names to images, got None"),
        (with_first(source=first.path), "source PosixPath.*: must be text"),
        (with_first(url="a\udcff"), r"url 'a\\udcff': must be text"),
        (with_first(relationships=((0, "above", 99),)), "relationship .* counted from 0"),
        (with_first(relationships=((0, "above", 0),)), "relationship .* to itself"),
        (with_first(image_id="0017"), "image_id '0017': must be a whole number"),
        (with_first(image_id=-1), "image_id must be in"),
        (with_first(image_id=others[0].image_id), "an image of train has this image_id"),
        (with_first(image_id=small_dataset.splits["val"][0].image_id), "of train has this"),
    )
    for splits, message in cases:
        with pytest.raises(BadInput, match=message):
            prepare_dataset(
                dataclasses.replace(small_dataset, splits=splits),
                tmp_path / "data",
                backbone=backbone,
                progress=False,
            )
    with pytest.raises(BadInput, match="data set 'COCO': must be an rgan_tf.AnnotatedDataset"):
        prepare_dataset("COCO", tmp_path / "data", backbone=backbone, progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kind": Path("coco")}, "data set: kind PosixPath.*: must be text"),
        ({"categories": "dog"}, "categories: must be a list of names, got one; put it into a list"),
        ({"categories": ("dog", 3)}, "categories: must be a list of names, and holds 3"),
        ({"predicates": None}, "predicates: must be a list of names, got None"),
        ({"skipped": None}, "skipped must count by split and reason, got None"),
        ({"skipped": {"train": ["blurred"]}}, "skipped must count by split and reason"),
        ({"skipped": {"train": {"blurred": "many"}}}, "skipped: train: blurred 'many': must be a"),
        ({"bad_images": 1}, "bad_images: must be a list of texts, got 1"),
    ],
)
def test_what_a_manifest_could_not_hold_is_refused_before_any_image_is_read(
    small_dataset, tmp_path, changes, message
):
    with pytest.raises(BadInput, match=message):
        prepare_dataset(
            dataclasses.replace(small_dataset, **changes), tmp_path / "data", progress=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"seed": "0"}, "--seed '0': must be a whole number"),
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"max_bad": "0.5"}, "--max-bad '0.5': must be a number"),
        ({"backbone": None}, "backbone None: must be a name"),
        ({"engine": "DirectRunner"}, "engine 'DirectRunner': must be an rgan_tf.Engine, such as"),
        ({"engine": Engine("", "workers=2")}, "--runner-option: without --runner"),
    ],
)
def test_arguments_of_no_use_are_refused_before_the_data_set_is_read(tmp_path, arguments, message):
    def read(folder):
        raise AssertionError("was read")

    with pytest.raises(BadInput, match=message):
        prepare_dataset(read, tmp_path / "data", progress=False, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_images_are_the_same_with_and_without_memory_for_them(prepared):
    sizes = {"image_size": 16, "max_objects": 4, "max_triples": 8}
    paths = prepared.record_paths("train")
    kept = SceneStore(paths, expected=11, **sizes)
    read = SceneStore(paths, expected=11, cache_bytes=0, **sizes)
    chosen = np.array([10, 0, 3, 3])
    np.testing.assert_array_equal(kept.images(chosen), read.images(chosen))
    assert kept.images(chosen).shape == (4, 16, 16, 3)


@pytest.mark.parametrize("limit, is_kept", [({}, True), ({"image_cache_bytes": 0}, False)])
def test_who_opens_the_data_says_whether_images_stay_in_memory(prepared, limit, is_kept):
    data = PreparedData.open(prepared.folder, **limit)
    scenes = data.scenes("train", DataConfig(image_size=16, max_objects=4, max_triples=8))
    decoded = []
    reading = scenes._decoded
    scenes._decoded = lambda *place: decoded.append(place) or reading(*place)
    assert scenes.images(np.array([2, 5])).shape == (2, 16, 16, 3)
    assert len(decoded) == (0 if is_kept else 2)


def test_graphs_that_fit_are_left_alone():
    triples = np.array([[2, 5, 0], [1, 4, 2]], np.int32)
    rng = np.random.default_rng(0)
    kept, same = fit_graph(3, triples, max_objects=3, max_triples=2, rng=rng)
    assert kept.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(same, triples)


def test_large_graphs_keep_related_objects_first():
    triples = np.array([[7, 1, 3], [3, 2, 9], [0, 3, 1]], np.int32)
    orphans = set()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        kept, fitted = fit_graph(10, triples, max_objects=6, max_triples=8, rng=rng)
        assert {7, 3, 9, 0, 1} < set(kept.tolist())
        orphans |= set(kept.tolist()) - {7, 3, 9, 0, 1}
        names = kept.tolist()
        assert [(names[s], p, names[o]) for s, p, o in fitted.tolist()] == [
            (7, 1, 3),
            (3, 2, 9),
            (0, 3, 1),
        ]
    assert len(orphans) > 2  # drawn, not always the first
    kept, fitted = fit_graph(10, triples, max_objects=3, max_triples=1, rng=rng)
    assert kept.tolist() == [3, 7, 9]
    assert fitted.tolist() == [[1, 1, 0]]
