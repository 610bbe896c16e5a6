"""Sources of a user's own bank: COCO files, or folders named by category."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from rgan_tf.annotations.annotation import AnnotatedImage, AnnotatedObject
from rgan_tf.annotations.coco_annotations import CocoAnnotations, CocoFilter
from rgan_tf.annotations.json_object import is_text
from rgan_tf.annotations.left_out import BadImages, LeftOut
from rgan_tf.errors import BadInput
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.vocabulary import RESERVED_OBJECTS, composed

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
_WHOLE = (0.0, 0.0, 1.0, 1.0)
_ID_BYTES = 6  # of an image id made from a name; well within int64


@dataclasses.dataclass(frozen=True)
class BankSource:
    """Images with the patches to be cut out of them.

    Attributes:
      name: for messages.
      images: in the order in which their patches enter the bank.
      categories: every category there is, sorted.
      left_out: what was left out and why.
      bad_images: one line for each image whose entry is unusable.
      turns: whether the EXIF orientation is applied. Annotated boxes refer to the pixels as stored.
    """

    name: str
    images: tuple[AnnotatedImage, ...]
    categories: tuple[str, ...]
    left_out: LeftOut
    bad_images: tuple[str, ...]
    turns: bool

    def fingerprint(self) -> str:
        """Hash that changes with any image, object, category or licence."""
        digest = hashlib.sha256()
        for image in self.images:
            shown = dataclasses.replace(image, path=Path(image.path.name))
            digest.update(repr(shown).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def coco_source(
    annotations: str | Path,
    images: str | Path,
    *,
    min_box_share: float = 0.0,
    licence: str = "",
    max_bad: float = 0.0,
) -> BankSource:
    """A file in the format of COCO's instances_*.json, and the folder of its images.

    Args:
      annotations: the file.
      images: folder that the file names are relative to.
      min_box_share: share of the image that a box must exceed.
      licence: for images without one in the file.
      max_bad: share of images whose entry may be unusable.

    Raises:
      BadInput: if a file or folder is missing or has another format, the share is out of range, or
        no image is left.
    """
    bad = BadImages(max_bad)
    limits = CocoFilter(
        min_box_share=min_box_share,
        min_objects=1,
        max_objects=2**31,
        require_stuff=False,
        keep_repeats=False,
    )
    file = CocoAnnotations(Path(annotations), Path(images), bad, f"{_name_of(Path(images))}/")
    file.check()
    found = (file.annotated(image_id, limits, 0) for image_id in file.listed)
    kept = tuple(
        image if image.licence else dataclasses.replace(image, licence=licence)
        for image in found
        if image is not None
    )
    file.warn_of_corners()
    bad.check(len(kept) + len(bad.lines))
    if not kept:
        raise file.left_out.nothing_left(
            f"{annotations}: no image with a usable object",
            {"object: too small": "a smaller --min-box-share"},
        )
    categories = {item.category for image in kept for item in image.objects}
    return BankSource(
        str(annotations),
        kept,
        tuple(sorted(categories)),
        file.left_out,
        tuple(bad.lines),
        turns=False,
    )


def folder_source(
    root: str | Path, *, licence: str = "", url: str = "", max_bad: float = 0.0
) -> BankSource:
    """Reads one folder per category, each with one image per patch.

    Args:
      root: holds the folders; their names are the categories. Hidden names are skipped, links are
        followed.
      licence: of all images; "" where that is not known.
      url: origin of the images.
      max_bad: share of images whose name may not be UTF-8.

    Raises:
      BadInput: if the folder does not exist or holds no image, or a folder's name is not UTF-8.
    """
    root = Path(root)
    if not root.is_dir():
        advice = spelled_otherwise(root) or "; name one that holds a folder per category"
        raise BadInput(f"{root}: no such folder{advice}")
    own_name = _name_of(root)
    images: list[AnnotatedImage] = []
    categories: dict[str, str] = {}  # category: its folder
    left_out, bad = LeftOut(), BadImages(max_bad)
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(".") or not folder.is_dir():
            if not folder.name.startswith("."):
                left_out.add("file: not in a folder of a category", folder.name)
            continue
        category = composed(folder.name.strip())
        before = len(images)
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                left_out.add("file: no .png or .jpg", f"{folder.name}/{path.name}")
                continue
            name = f"{folder.name}/{path.name}"
            if not is_text(name):
                bad.add(f"{path}: its name is not UTF-8; rename it")
                continue
            provenance = f"{own_name}/{name}"
            images.append(
                AnnotatedImage(
                    image_id=image_id_of(provenance),
                    path=path.absolute(),  # read later, or by other machines
                    objects=(AnnotatedObject(category, _WHOLE, (0.5, 0.5)),),
                    relationships=(),
                    licence=licence,
                    url=url,
                    source=provenance,
                )
            )
        if len(images) > before:
            _check_category(root, folder.name, categories)
            categories[category] = folder.name
    bad.check(len(images) + len(bad.lines))
    if not images:
        message = f"{root}: no .png or .jpg in its folders; the folders are the categories"
        raise left_out.nothing_left(message, {})
    return BankSource(
        str(root), tuple(images), tuple(categories), left_out, tuple(bad.lines), turns=True
    )


def _check_category(root: Path, folder: str, others: dict[str, str]) -> None:
    category = composed(folder.strip())
    if not category:
        reason = "is empty"
    elif category in RESERVED_OBJECTS:
        reason = "is a name reserved by the model"
    elif category in others:
        reason = f"occurs twice, as {others[category]!r} and {folder!r}"
    else:
        return
    raise BadInput(f"{root}: category {category!r} {reason}; rename it")


def _name_of(folder: Path) -> str:
    """Name of a folder, which distinguishes its images from those of others."""
    name = folder.resolve().name
    if not is_text(name):
        raise BadInput(f"{folder}: its name is not UTF-8; rename it")
    return name


def image_id_of(name: str) -> int:
    """A reproducible number for an image that only has a name."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_ID_BYTES)
    return int.from_bytes(digest.digest(), "big")
