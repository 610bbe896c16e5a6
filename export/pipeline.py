"""A trained RetrieveGAN, from a scene graph to images: `rgan_tf.RetrieveGAN`."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.edits import answer_edit, build_edited_request
from export.model_folder import ModelFolder, open_model, shown_row
from export.notices import PatchNotices
from export.requests import Draw, Request, read_draws
from export.result_folder import describe_sample, read_crops, write_overview, write_sample
from export.sample_graph import DrawnGraph, Edit, parse_drawn_graph
from export.saved_model import build_served_model, export_run
from export.saved_model_loading import answer_of, load_saved_model
from export.saved_rival import build_served_rival, check_bank_options, is_rival, needs_bank
from export.signatures import DEFAULT_NAME, EXACT, MODES, SAMPLE
from rgan_tf import released
from rgan_tf.arguments import path_text, shown, text_list
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.contradictions import contradictions
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.places import open_patches
from rgan_tf.retrieval.registry import check_retriever
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.runs import (
    Run,
    check_bank_fits,
    check_learns_retrieval,
    check_own_retriever,
    open_run,
    run_name,
)
from rgan_tf.scene_graph import SceneGraph, load_scene_graphs
from rgan_tf.storage.files import atomic_folder
from rgan_tf.storage.image import decode_image
from rgan_tf.vocabulary import Vocabulary

Reply = dict[str, Any]
Answer = Callable[[Request, Draw], Reply]


@dataclasses.dataclass(frozen=True, eq=False)
class Generation:
    """Images of one scene graph, S samples of N objects, and how they came about.

    Attributes:
      graph: what was drawn.
      images: [S, H, W, 3] uint8.
      boxes: [S, N, 4] float32 [x0, y0, x1, y1], shares of the image, x to the right, y downwards;
        None for a rival that draws in no layout.
      crops: [S, N, h, w, 3] uint8, the patches as the generator saw them; 0 without a patch; None
        for a rival that draws from none, as `patches`.
      patches: per sample and object a dict: `id` (row of the bank, None for an image of the
        user's), `category`, `source`, `image_id`, `box`, `licence`, `url`, `chosen_by` ("model" or
        "user"), `step` (when it was chosen), `distance`.
      descriptions: per sample what `rgan generate` writes beside a picture, as JSON values. It is a
        scene graph too: `RetrieveGAN.generate` draws the same picture of it by the same seed, or
        changes some of its objects.
      notices: lines about what the graph did not get: objects with a patch of another category or
        with one patch, and relationships that no layout can fulfil together; [] is the usual case.
    """

    graph: SceneGraph
    images: np.ndarray
    boxes: np.ndarray | None
    crops: np.ndarray | None
    patches: list[list[dict[str, Any]]] | None
    descriptions: list[dict[str, Any]]
    notices: list[str] = dataclasses.field(default_factory=list)
    _parts: tuple = dataclasses.field(repr=False, default=())

    def save(self, folder: str | Path) -> Path:
        """Writes what `rgan generate` writes: per sample image, layout, patches and JSON.

        Args:
          folder: to make; must not exist, or be empty.

        Returns:
          The folder.

        Raises:
          BadInput: if the folder is taken or cannot be written.
        """
        folder = path_text(folder, "folder")
        request, draws, replies, model = self._parts
        with atomic_folder(folder) as partial:
            samples = [
                write_sample(partial, number, request, reply, draw, model)
                for number, (draw, reply) in enumerate(zip(draws, replies, strict=True), start=1)
            ]
            write_overview(partial, samples)
        return Path(folder)


class RetrieveGAN:
    """A trained model with a patch bank; make one by `from_run`, `from_released` or `from_model`.

    It does what an exported model does, by the same functions: equal arguments give equal bytes
    here, in `rgan generate` and from a server.

    Example:
      ```python
      import rgan_tf

      model = rgan_tf.RetrieveGAN.from_released("procedural_64", bank="DATA/bank")
      result = model.generate(
          {"objects": ["sky", "tree"], "relationships": [[0, "above", 1]]}, samples=2, seed=7
      )
      print(result.images.shape, result.patches[0][1]["licence"])
      ```
    """

    def __init__(
        self,
        model: ModelFolder,
        answer: Answer,
        export: Callable[..., dict[str, Any]] | None = None,
    ):
        self._model = model
        self._answer = answer
        self._export = export

    @classmethod
    def from_run(
        cls,
        run: Run | str | Path,
        *,
        bank: str | Path | PatchBank | PreparedData | None = None,
        retriever: Retriever | None = None,
        weights_dir: str | Path | None = None,
    ) -> RetrieveGAN:
        """A run folder, or `released:NAME`, with the patches of a bank.

        A run whose `training.system` is a rival draws as that system; see docs/rivals.md.

        Args:
          run: as `rgan train` wrote it, or the `run` that `train` returns.
          bank: a bank or prepared data, whose training patches are then used, or the folder of
            one; by default the data that the run was trained on.
          retriever: chooses the patches; None takes that of the run's config. A run trained with
            `train(..., retriever=...)` needs it again.
          weights_dir: folder with backbone weight files.

        Raises:
          BadInput: if there is no such run or bank, they do not go together, or the run was trained
            with a retriever that is not given.
          CorruptData: if a file is damaged.
        """
        check_retriever(retriever)
        name = run_name(run, "run")
        opened = open_run(name)
        check_learns_retrieval(opened, name)
        check_own_retriever(opened, name, is_given=retriever is not None)
        check_bank_options(opened, name, {"bank": bank})
        patches = None
        if needs_bank(opened):
            patches = _open_bank(bank, opened, name)
            check_bank_fits(opened, name, patches)
        rival = None
        if is_rival(opened):
            if retriever is not None:
                raise BadInput(f"run {name}: is of a rival, which takes no retriever")
            served, licences = build_served_rival(opened, patches)
            rival = served.endpoints
        else:
            served, licences = build_served_model(opened, patches, weights_dir, retriever=retriever)
        model = RunModel(
            folder=opened.folder,
            vocabulary=opened.vocabulary,
            sizes=served.sizes,
            licences=licences,
            manifest={
                "weights": opened.fingerprint(),
                "bank": None if patches is None else patches.fingerprint,
            },
            bank=patches,
            system=opened.config.training.system,
            rival=rival,
        )
        export = functools.partial(
            export_run, opened, patches, weights_dir=weights_dir, retriever=retriever
        )
        functions = {endpoint: served.function(endpoint) for endpoint in model.endpoints}
        return cls(model, answer_of(functions), export)

    @classmethod
    def from_released(
        cls,
        name: str,
        *,
        bank: str | Path | PatchBank | PreparedData,
        weights_dir: str | Path | None = None,
    ) -> RetrieveGAN:
        """A run that ships with the library, with the patches of a bank; see `from_run`.

        Args:
          name: "procedural_64" or "street_64".
          bank: a bank or prepared data, or the folder of one, of the names that the run knows; a
            released run comes without data.
          weights_dir: folder with backbone weight files.

        Raises:
          BadInput: if there is no such run (lists them) or bank, or they do not go together.
          CorruptData: if a file is damaged.

        Example:
          ```python
          import rgan_tf

          model = rgan_tf.RetrieveGAN.from_released("procedural_64", bank="DATA")
          print(model.image_size, model.vocabulary.categories)
          ```
        """
        if not isinstance(name, str):
            raise BadInput(f"name {shown(name)}: must be the name of a released run")
        return cls.from_run(f"{released.PREFIX}{name}", bank=bank, weights_dir=weights_dir)

    @classmethod
    def from_model(cls, folder: str | Path) -> RetrieveGAN:
        """A model that `rgan export` wrote.

        Args:
          folder: of the model, or of one of its versions.

        Raises:
          BadInput: if there is no model, or it needs ScaNN, which is not available.
          CorruptData: if a file is damaged.
        """
        model = open_model(path_text(folder, "model"))
        return cls(model, answer_of(load_saved_model(model).signatures))

    @property
    def vocabulary(self) -> Vocabulary:
        """The names that a scene graph may use."""
        return self._model.vocabulary

    @property
    def image_size(self) -> int:
        """Side of the images in px."""
        return self._model.sizes.image

    def generate(
        self,
        graph: Mapping[str, Any] | SceneGraph | str | Path,
        *,
        samples: int = 1,
        seed: int = 0,
        mode: str = MODES[SAMPLE],
        temperature: float = 1.0,
        allow_repeats: bool = False,
        licences: Sequence[str] | None = None,
        keep: Sequence[str | int] = (),
        redraw: Sequence[str | int] = (),
    ) -> Generation:
        """Draws images of one scene graph, or changes objects of an earlier picture.

        Args:
          graph: scene-graph JSON as a dict, or the path of such a file, or a `SceneGraph`. Paths of
            images in it are relative to its file, or to the working folder. To change a picture: an
            item of `Generation.descriptions`, or the path of a sample's JSON.
          samples: S; each retrieves anew. 1 where the mode draws nothing.
          seed: of the first sample; sample i has seed + i.
          mode: "sample" (the default), "deterministic" (the best group, without noise) or "nearest"
            (each object's nearest patch by itself).
          temperature: of the draw, in (0, 100]; higher varies more.
          allow_repeats: let objects of one image get one patch while other candidates are free.
          licences: codes such as "BY", "public-domain"; only patches under these are retrieved.
            None: all.
          keep: objects of the picture that keep box and patch, while all others are drawn anew. An
            object is named by its category ("house"), its number in it ("tree:2") or its position
            in the graph (3 or "3").
          redraw: objects that get other patches, while all others keep theirs; instead of `keep`.

        Returns:
          A `Generation`.

        Raises:
          BadInput: if the graph does not fit the model, an argument is out of range, or an object
            to redraw got its old patch every time.
          CorruptData: if an image that the graph names is damaged.
        """
        draws = read_draws(
            mode, samples, seed, temperature, usual=1, repeats=allow_repeats, prefix=""
        )
        draws = [draw.for_model(self._model) for draw in draws]
        allowed = LicenceFilter.parse(licences, "licences")
        edit = Edit(
            text_list(keep, "keep", also=(numbers.Integral,)),
            text_list(redraw, "redraw", also=(numbers.Integral,)),
        )
        if edit.redraw and mode != MODES[SAMPLE]:
            raise BadInput(f"redraw: redraws patches, which mode {mode} does not; use one of them")
        drawn, folder = _read_graph(graph, edit)
        request = build_edited_request(drawn, self._model, folder, 0, "scene graph", allowed)
        replies = [answer_edit(self._answer, request, draw, len(draws)) for draw in draws]
        descriptions = [
            describe_sample(request, reply, draw, self._model)
            for draw, reply in zip(draws, replies, strict=True)
        ]
        patch_notices = PatchNotices(self._model, allowed)
        for description in descriptions:
            patch_notices.add(description)
        names = drawn.graph.objects
        count = len(names)
        return Generation(
            graph=drawn.graph,
            images=np.stack([decode_image(reply["image_bytes"], "image") for reply in replies]),
            boxes=np.stack([reply["boxes"][:count, [1, 0, 3, 2]] for reply in replies])
            if self._model.reads_boxes
            else None,
            crops=np.stack(
                [
                    read_crops(reply["patch_crops_bytes"][:count], self._model.sizes.crop)
                    for reply in replies
                ]
            )
            if self._model.reads_patches
            else None,
            patches=[[item["patch"] for item in each["objects"]] for each in descriptions]
            if self._model.reads_patches
            else None,
            descriptions=descriptions,
            notices=[
                *(f"contradiction: {one.text(names)}" for one in contradictions(drawn.graph)),
                *patch_notices.lines(),
            ],
            _parts=(request, draws, replies, self._model),
        )

    def export(self, out: str | Path, *, name: str = DEFAULT_NAME, index: str = EXACT) -> Path:
        """Writes a self-contained, versioned SavedModel, as `rgan export` does.

        Args:
          out: model folder; gets a new version in it.
          name: of the model in the server's files, as clients ask for it ("retrievegan").
          index: "exact", the default, or "scann", which needs a server with ScaNN's operations.

        Returns:
          The folder of the version.

        Raises:
          BadInput: if this is an exported model already, or the folder is taken.
        """
        if self._export is None:
            raise BadInput(f"{self._model.folder}: is an exported model already; copy the folder")
        return Path(self._export(path_text(out, "out"), name=name, index=index)["path"])


@dataclasses.dataclass(frozen=True)
class RunModel(ModelFolder):
    """A run and a bank as an exported model would describe them.

    Attributes:
      bank: of its patches.
    """

    bank: PatchBank | None = None

    @functools.cached_property
    def provenance(self) -> list[dict[str, Any]]:
        """See `ModelFolder`."""
        return [] if self.bank is None else [shown_row(row) for row in self.bank.rows]


def _open_bank(
    bank: str | Path | PatchBank | PreparedData | None, run: Run, name: str
) -> PatchBank:
    if isinstance(bank, PatchBank):
        return bank
    if isinstance(bank, PreparedData):
        return bank.bank
    if bank is None:
        bank = run.data_there(f"run {name}", "name a bank")
    return open_patches(bank, "bank ")


def _read_graph(
    graph: Mapping[str, Any] | SceneGraph | str | Path, edit: Edit
) -> tuple[DrawnGraph, Path]:
    """The graph with what stays of its picture, and the folder that its paths are relative to."""
    if isinstance(graph, SceneGraph):
        graph = graph.to_json()
    if not isinstance(graph, (str, Path)):
        value = dict(graph) if isinstance(graph, Mapping) else graph
        return parse_drawn_graph(value, "scene graph", edit, Path()), Path()
    folder = Path(graph).parent
    graphs = load_scene_graphs(
        graph, lambda value, source: parse_drawn_graph(value, source, edit, folder)
    )
    if len(graphs) != 1:
        raise BadInput(f"{graph}: holds {len(graphs)} scene graphs, one is drawn at a time")
    return graphs[0], folder
