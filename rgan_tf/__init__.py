"""Scene graph to image by differentiable patch retrieval (RetrieveGAN, ECCV 2020).

What the library offers, by task; every name is imported when it is first used, so that
`import rgan_tf` costs nothing:

* draw: `RetrieveGAN`, `SceneGraph`
* retrieve: `GroupRetrieval`, `gumbel_group_select`, `PatchEmbedding`, `Retriever`,
  `register_retriever`
* patches and data: `PatchBank`, `build_bank`, `add_to_bank`, `remove_from_bank`, `merge_banks`,
  `read_coco`, `read_visual_genome`, `AnnotatedDataset`, `AnnotatedImage`, `AnnotatedObject`,
  `draw_world`, `prepare`, `PreparedData`, `Engine`
* train and measure: `Config`, `load_config`, `Loss`, `register_backbone`, `train`, `evaluate`,
  `compare`, `write_report`

Example:
  ```python
  import rgan_tf

  model = rgan_tf.RetrieveGAN.from_released("procedural_64", bank="DATA")
  result = model.generate({"objects": ["sky", "tree"], "relationships": [[0, "above", 1]]})
  print(result.images.shape, result.patches[0][0]["source"])
  ```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `_PUBLIC` says, for editors and documentation
    from export.pipeline import RetrieveGAN as RetrieveGAN
    from rgan_tf.annotations.annotation import AnnotatedDataset as AnnotatedDataset
    from rgan_tf.annotations.annotation import AnnotatedImage as AnnotatedImage
    from rgan_tf.annotations.annotation import AnnotatedObject as AnnotatedObject
    from rgan_tf.annotations.coco import read_coco_dataset as read_coco
    from rgan_tf.annotations.visual_genome import read_visual_genome_dataset as read_visual_genome
    from rgan_tf.backbones.networks import register_backbone as register_backbone
    from rgan_tf.bank.patch_bank import PatchBank as PatchBank
    from rgan_tf.config import Config as Config
    from rgan_tf.data.prepare import prepare_dataset as prepare
    from rgan_tf.data.prepared import PreparedData as PreparedData
    from rgan_tf.losses.own import Loss as Loss
    from rgan_tf.retrieval.embedding import PatchEmbedding as PatchEmbedding
    from rgan_tf.retrieval.gumbel import gumbel_group_select as gumbel_group_select
    from rgan_tf.retrieval.registry import register_retriever as register_retriever
    from rgan_tf.retrieval.retriever import Retriever as Retriever
    from rgan_tf.retrieval.selector import GroupRetrieval as GroupRetrieval
    from rgan_tf.scene_graph import SceneGraph as SceneGraph
    from rgan_tf.spread import Engine as Engine
    from rgan_tf.world import draw_world as draw_world
    from training.api import train as train
    from training.bank.build import add as add_to_bank
    from training.bank.build import build as build_bank
    from training.bank.change import merge as merge_banks
    from training.bank.change import remove as remove_from_bank
    from training.compare.run import compare as compare
    from training.configuration import named_config as load_config
    from training.evaluation.evaluate import evaluate as evaluate
    from training.report.write import write_report as write_report

# Public name -> module, and the name there. Alone among the modules of this package, this one may
# name training and export: it is the door of the house and no room of it.
_PUBLIC = {
    "AnnotatedDataset": ("rgan_tf.annotations.annotation", "AnnotatedDataset"),
    "AnnotatedImage": ("rgan_tf.annotations.annotation", "AnnotatedImage"),
    "AnnotatedObject": ("rgan_tf.annotations.annotation", "AnnotatedObject"),
    "Config": ("rgan_tf.config", "Config"),
    "GroupRetrieval": ("rgan_tf.retrieval.selector", "GroupRetrieval"),
    "Loss": ("rgan_tf.losses.own", "Loss"),
    "PatchBank": ("rgan_tf.bank.patch_bank", "PatchBank"),
    "PatchEmbedding": ("rgan_tf.retrieval.embedding", "PatchEmbedding"),
    "PreparedData": ("rgan_tf.data.prepared", "PreparedData"),
    "RetrieveGAN": ("export.pipeline", "RetrieveGAN"),
    "SceneGraph": ("rgan_tf.scene_graph", "SceneGraph"),
    "gumbel_group_select": ("rgan_tf.retrieval.gumbel", "gumbel_group_select"),
    "Retriever": ("rgan_tf.retrieval.retriever", "Retriever"),
    "draw_world": ("rgan_tf.world", "draw_world"),
    "Engine": ("rgan_tf.spread", "Engine"),
    "load_config": ("training.configuration", "named_config"),
    "train": ("training.api", "train"),
    "evaluate": ("training.evaluation.evaluate", "evaluate"),
    "compare": ("training.compare.run", "compare"),
    "write_report": ("training.report.write", "write_report"),
    "build_bank": ("training.bank.build", "build"),
    "add_to_bank": ("training.bank.build", "add"),
    "remove_from_bank": ("training.bank.change", "remove"),
    "merge_banks": ("training.bank.change", "merge"),
    "register_retriever": ("rgan_tf.retrieval.registry", "register_retriever"),
    "prepare": ("rgan_tf.data.prepare", "prepare_dataset"),
    "register_backbone": ("rgan_tf.backbones.networks", "register_backbone"),
    "read_coco": ("rgan_tf.annotations.coco", "read_coco_dataset"),
    "read_visual_genome": ("rgan_tf.annotations.visual_genome", "read_visual_genome_dataset"),
}

__all__ = [
    "AnnotatedDataset",
    "AnnotatedImage",
    "AnnotatedObject",
    "Config",
    "Engine",
    "GroupRetrieval",
    "Loss",
    "PatchBank",
    "PatchEmbedding",
    "PreparedData",
    "RetrieveGAN",
    "Retriever",
    "SceneGraph",
    "add_to_bank",
    "build_bank",
    "compare",
    "draw_world",
    "evaluate",
    "gumbel_group_select",
    "load_config",
    "merge_banks",
    "prepare",
    "read_coco",
    "read_visual_genome",
    "register_backbone",
    "register_retriever",
    "remove_from_bank",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
