"""A prepared data folder, as `rgan prepare` writes it.

manifest.json           contents, with size and checksum of every file
vocabulary.json         names and ids
scene_graph.pbtxt       schema of the records
records/*.tfrecord      scenes, sharded, per split
bank/                   patches of the training images; only these can be retrieved
truth/val, truth/test   the objects' own patches of the other splits, for evaluation
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rgan_tf.arguments import path_text
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config, DataConfig
from rgan_tf.data.scenes import IMAGE_CACHE_BYTES, SceneStore
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.manifest import Manifest, ManifestKind
from rgan_tf.vocabulary import Vocabulary

DATA = ManifestKind(
    "rgan_data",
    1,
    "a folder made by rgan prepare",
    advice="prepare the data again",
    needs=("backbone", "crop_size", "image_size", "splits"),
)
VOCABULARY, RECORDS, BANK, TRUTH = ("vocabulary.json", "records", "bank", "truth")
SPLITS = ("train", "val", "test")


def bank_folder(split: str) -> str:
    """Folder of the patches of a split, relative to the data folder."""
    return BANK if split == "train" else f"{TRUTH}/{split}"


class PreparedData:
    """Read access to a prepared folder; open one with `PreparedData.open`.

    Attributes:
      folder: the data folder.
      manifest: as read.
      vocabulary: names and ids of its records.
      fingerprint: sha256 of the manifest, which holds the checksum of every file; equal
        fingerprints mean equal data.

    Example:
      ```python
      import rgan_tf

      data = rgan_tf.PreparedData.open("DATA")
      print(data.record_count("train"), len(data.bank), data.vocabulary.num_objects)
      ```
    """

    def __init__(self, manifest: Manifest, vocabulary: Vocabulary, image_cache_bytes: int):
        self._manifest = manifest
        self.folder = manifest.folder
        self.manifest = manifest.content
        self.vocabulary = vocabulary
        self.fingerprint = manifest.fingerprint()
        self._image_cache_bytes = image_cache_bytes
        self._banks: dict[str, PatchBank] = {}
        self._scenes: dict[tuple, SceneStore] = {}

    @classmethod
    def open(
        cls, folder: str | Path, *, image_cache_bytes: int = IMAGE_CACHE_BYTES
    ) -> PreparedData:
        """Opens a folder and checks that it is complete.

        Sizes are compared here, checksums of a bank when it is first used, those of records when
        TensorFlow reads them; `verify` compares them all at once.

        Args:
          folder: made by `rgan prepare`.
          image_cache_bytes: a split's images are kept in memory if they are not larger together;
            0 for callers that read them only once or twice.

        Raises:
          BadInput: if it is not a folder made by `rgan prepare`, or of another version.
          CorruptData: if a file is missing or damaged; names the file.
        """
        manifest = DATA.open(path_text(folder, "data"))
        wrong = _wrong_field(manifest.content)
        if wrong:
            raise manifest.damaged(f"{wrong} is damaged")
        manifest.check_files((VOCABULARY,), verify=False)
        vocabulary = manifest.read(VOCABULARY, Vocabulary.from_json)
        if vocabulary.sha256() != manifest.content.get("vocabulary_sha256"):
            raise CorruptData(
                f"{manifest.folder / VOCABULARY}: not the vocabulary that the records were written "
                "with; prepare the data again"
            )
        return cls(manifest, vocabulary, image_cache_bytes)

    def __fspath__(self) -> str:
        """Its folder: opened data may stand wherever a folder is asked for."""
        return str(self.folder)

    @property
    def image_size(self) -> int:
        """Side of the stored images in px."""
        return int(self.manifest["image_size"])

    @property
    def backbone(self) -> str:
        """Name of the network whose features the banks hold."""
        return str(self.manifest["backbone"])

    @property
    def bank(self) -> PatchBank:
        """The retrievable patches: those of the training images."""
        return self.truth("train")

    def truth(self, split: str) -> PatchBank:
        """The patches of a split's own objects, row-aligned with `patch_rows` of its records."""
        self._require_split(split)
        if split not in self._banks:
            self._banks[split] = PatchBank.open(self.folder / bank_folder(split))
        return self._banks[split]

    def record_count(self, split: str) -> int:
        """Number of images of a split."""
        self._require_split(split)
        return int(self.manifest["splits"][split]["images"])

    def record_paths(self, split: str) -> list[Path]:
        """The shards of a split, in order."""
        self._require_split(split)
        return [self.folder / RECORDS / name for name in self.manifest["splits"][split]["shards"]]

    def scenes(self, split: str, sizes: DataConfig) -> SceneStore:
        """The scenes of a split, padded to the sizes of a config; read once and kept.

        Raises:
          CorruptData: if a record is damaged or the number of records is wrong.
        """
        key = (split, sizes.image_size, sizes.max_objects, sizes.max_triples)
        if key not in self._scenes:
            self._scenes[key] = SceneStore(
                self.record_paths(split),
                expected=self.record_count(split),
                image_size=sizes.image_size,
                max_objects=sizes.max_objects,
                max_triples=sizes.max_triples,
                cache_bytes=self._image_cache_bytes,
            )
        return self._scenes[key]

    def verify(self) -> None:
        """Compares every file with its checksum.

        Raises:
          CorruptData: at the first difference.
        """
        self._manifest.check_files(verify=True)

    def check_config(self, config: Config) -> None:
        """Refuses a config that does not fit these files.

        Raises:
          BadInput: if the backbone differs or the config needs larger images or crops.
        """
        if config.retrieval.backbone != self.backbone:
            wanted = config.retrieval.backbone
            raise BadInput(
                f"{self.folder}: holds {self.backbone} features, the config wants {wanted}; "
                f"prepare with --backbone {wanted}, or set retrieval.backbone={self.backbone}"
            )
        if config.data.image_size > self.image_size:
            raise BadInput(
                f"{self.folder}: holds images of {self.image_size} px, the config wants "
                f"{config.data.image_size}; prepare with --size {config.data.image_size}"
            )
        stored = int(self.manifest["crop_size"])
        if config.data.crop_size > stored:
            raise BadInput(
                f"{self.folder}: holds crops of {stored} px, the config wants "
                f"{config.data.crop_size}; set data.crop_size to at most {stored}"
            )

    def check_relations_can_be_drawn(self) -> None:
        """Refuses data whose relationships training cannot draw anew (`data.redraw_relations`).

        Raises:
          BadInput: if they were annotated, or the records were written before they held centres.
        """
        relations = self.manifest.get("relations")
        if relations == "geometric":
            return
        advice = "set data.redraw_relations=false"
        if relations is None:
            raise BadInput(
                f"{self.folder}: holds no centres of masks, from which data.redraw_relations draws "
                f"new relationships; prepare the data again, or {advice}"
            )
        raise BadInput(
            f"{self.folder}: its relationships were annotated, and data.redraw_relations would "
            f"replace them by geometric ones; {advice}"
        )

    def check_vocabulary(self, vocabulary: Vocabulary, owner: str) -> None:
        """Refuses a model with another vocabulary.

        Args:
          vocabulary: of the model.
          owner: name of the model in the message.

        Raises:
          BadInput: if the two differ.
        """
        if vocabulary.sha256() != self.vocabulary.sha256():
            raise BadInput(
                f"{self.folder}: was made with another vocabulary than {owner} "
                f"({self.vocabulary.num_objects} and {vocabulary.num_objects} object names); "
                "use the data that it was trained on"
            )

    def _require_split(self, split: str) -> None:
        if split not in self.manifest["splits"]:
            known = ", ".join(self.manifest["splits"])
            raise BadInput(f"{self.folder}: has no split {split!r}; it has {known}")


def _wrong_field(manifest: dict[str, Any]) -> str | None:
    """The first field that is read and has a wrong type; None if all are right."""
    for key in ("image_size", "crop_size"):
        if not _is_count(manifest[key]):
            return key
    if not isinstance(manifest["backbone"], str):
        return "backbone"
    splits = manifest["splits"]
    if not isinstance(splits, dict) or not splits:
        return "splits"
    for name, split in splits.items():
        is_split = isinstance(split, dict) and _is_count(split.get("images"))
        shards = split.get("shards") if is_split else None
        if not isinstance(shards, list) or not all(isinstance(shard, str) for shard in shards):
            return f"splits: {name}"
    return None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
