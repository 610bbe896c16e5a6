"""Folders with a manifest: a JSON file with the folder's kind and the checksums of its files.

A patch bank, prepared data, an index, an exported model, a checkpoint and a study are such folders;
each room declares its `ManifestKind` and opens its folders through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from rgan_tf.errors import BadInput, CorruptData, RganError
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.storage.files import read_json, sha256_of, write_json_atomic
from rgan_tf.storage.seal import SEAL, check_seal, sealed

_Result = TypeVar("_Result")

_MAX_BYTES = 2**28  # of a manifest; that of a data set with a million bad images is smaller


@dataclasses.dataclass(frozen=True)
class ManifestKind:
    """One kind of folder and the words that messages use for it.

    Attributes:
      kind, version: as written in its manifests.
      noun: its name in messages, such as "a patch bank".
      advice: what to do if it is damaged.
      renew: what to do if it is of another version; `advice` by default.
      needs: further keys that a manifest must have.
      seal: whether a manifest holds its own checksum; "optional" also reads manifests without one.
      file: path of the manifest in the folder.
      error: raised for a folder of another kind; CorruptData for folders only the program names.
    """

    kind: str
    version: int
    noun: str
    advice: str
    renew: str = ""
    needs: tuple[str, ...] = ()
    seal: Literal["none", "optional", "required"] = "none"
    file: str = "manifest.json"
    error: type[RganError] = BadInput

    def open(self, folder: str | Path, called: str = "") -> Manifest:
        """Reads and checks the manifest of a folder; does not check the other files.

        Args:
          folder: the folder.
          called: name of the folder in messages; its path by default.

        Raises:
          BadInput: if the folder is of another kind (or `error`), or of another version.
          CorruptData: if the manifest is damaged or lacks a key.
        """
        folder = Path(folder)
        called, path = called or str(folder), folder / self.file
        if not path.is_file():
            raise self._refusal(called, f"has no {self.file}", f"name {self.noun}", folder)
        try:
            content = read_json(path, max_bytes=_MAX_BYTES)
        except BadInput as error:
            raise CorruptData(f"{path}: damaged; {self.advice}") from error
        is_object = isinstance(content, dict)
        if is_object and SEAL in content:
            check_seal(content, path, advice=self.advice)
        if not is_object or content.get("kind") != self.kind:
            raise self._refusal(called, f"not {self.noun}", "name one")
        if content.get("version") != self.version:
            raise BadInput(
                f"{called}: version {content.get('version')!r:.40} of {self.noun}, this program "
                f"reads {self.version}; {self.renew or self.advice}"
            )
        if self.seal == "required":
            check_seal(content, path, advice=self.advice)
        for key in self.needs:
            if key not in content:
                raise CorruptData(f"{path}: lacks {key}; {self.advice}")
        # A program may change its working folder and read the rest of the folder afterwards.
        return Manifest(self, folder.absolute(), content)

    def _refusal(
        self, called: str, reason: str, advice: str, missing: Path | None = None
    ) -> RganError:
        if self.error is not BadInput:
            return self.error(f"{called}: {reason}; {self.advice}")
        found = "" if missing is None else spelled_otherwise(missing)
        return BadInput(f"{called}: {reason}{found or f'; {advice}'}")

    def write(self, folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
        """Writes and returns the manifest; call it after all other files are written."""
        manifest = {"kind": self.kind, "version": self.version, **content}
        if self.seal != "none":
            manifest = sealed(manifest)
        write_json_atomic(folder / self.file, manifest)
        return manifest


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The manifest of an opened folder.

    Attributes:
      kind: its kind.
      folder: the folder, absolute.
      content: the JSON object.
    """

    kind: ManifestKind
    folder: Path
    content: dict[str, Any]

    @property
    def path(self) -> Path:
        """The manifest's file."""
        return self.folder / self.kind.file

    def fingerprint(self) -> str:
        """sha256 of the manifest, which holds all checksums: equal ones mean equal folders."""
        return sha256_of(self.path)

    def damaged(self, reason: str) -> CorruptData:
        """The error for an unusable manifest, with advice."""
        return CorruptData(f"{self.path}: {reason}; {self.kind.advice}")

    def read(self, name: str, parse: Callable[[Any], _Result]) -> _Result:
        """Reads a JSON file of the folder and returns `parse` of its content.

        Raises:
          CorruptData: if it is not JSON, or `parse` raises BadInput.
        """
        path = self.folder / name
        try:
            return parse(read_json(path))
        except BadInput as error:
            raise CorruptData(f"{path}: damaged; {self.kind.advice}") from error

    def check_files(
        self,
        names: Iterable[str] = (),
        *,
        verify: bool | Callable[[str], bool],
        below: str = "",
    ) -> None:
        """Compares files with their sizes and checksums in the manifest.

        Args:
          names: files that the manifest must list.
          verify: also compare checksums, which reads every byte; a function decides per file name.
          below: prefix of the names to check; files with other names may be missing.

        Raises:
          CorruptData: at the first file that is missing or has another size or, with `verify`,
            another checksum; names the file.
        """
        described = self.content.get("files")
        if not isinstance(described, dict) or not set(names) <= set(described):
            raise self.damaged("does not list its files")
        for name, entry in described.items():
            if name.startswith(below):
                self._check_file(name, entry, verify(name) if callable(verify) else verify)

    def _check_file(self, name: str, entry: Any, verify: bool) -> None:
        size, checksum = map(entry.get, ("bytes", "sha256")) if isinstance(entry, dict) else (0, 0)
        if not isinstance(size, int) or not isinstance(checksum, str):
            raise self.damaged(f"does not describe {name!r:.80}")
        path, advice = self.folder / name, self.kind.advice
        if not path.is_file():
            raise CorruptData(f"{path}: is missing; {advice}")
        found = path.stat().st_size
        if found != size:
            raise CorruptData(f"{path}: {found} bytes, {size} were written; {advice}")
        if verify and sha256_of(path) != checksum:
            raise CorruptData(f"{path}: damaged (checksum differs); {advice}")


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of files, as stored in manifests."""
    return {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in names
    }
