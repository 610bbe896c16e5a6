"""Names of tasks and systems, without importing TensorFlow, for the command's help."""

from __future__ import annotations

from rgan_tf import registered_names

NAMES = {
    "learned": "retrievegan",
    "nearest": "graph_nearest",
    "nearest_random": "pastegan_style",
    "own": "oracle_patches",
    "noise": "layout2im_style",
}
"""The system of a run's joint stage, by `retrieval.choice`."""

FIRST_STAGE = "first_stage"
"""What a run's own stage 1 draws; `sg2im` is the rival that is trained by itself."""

TASKS = ("images", "diversity", "layout", "retrieval", "cooccurrence")

DRAWING = frozenset({"images", "diversity"})
"""The tasks that draw images."""

SYSTEMS = registered_names.SYSTEMS

JUDGES = registered_names.JUDGES
"""Networks of the distances and scores of images."""

LPIPS = "lpips_"
"""Beginning of a diversity network that has LPIPS's learned heads."""


def diversity_networks() -> list[str]:
    """Networks of the distance between two samples; `register_backbone` adds to them."""
    lpips = [f"{LPIPS}{name}" for name in registered_names.LPIPS_NETWORKS]
    return [*registered_names.PERCEPTUAL_BACKBONES, *lpips]


def own_retrievers() -> list[str]:
    """Names of the retrievers registered by the user; each is also the name of a system."""
    return [name for name in registered_names.RETRIEVERS if name not in NAMES]


def system_name(retriever: str) -> str:
    """The system name of the joint stage with this retriever."""
    return NAMES.get(retriever, retriever)


def system_names(rule: str) -> list[str]:
    """The systems of a run with the retriever of this name, such as its `retrieval.choice`."""
    names = [system_name(rule), FIRST_STAGE]
    if rule != "noise":
        names.append("pasted_canvas")
    if rule not in ("noise", "own"):
        names.append("own_patches")
    return names
