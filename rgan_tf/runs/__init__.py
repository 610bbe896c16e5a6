"""A run folder: config, data, vocabulary and weights of one training.

    RUN/config.yaml            the resolved config
    RUN/vocabulary.json        category and predicate tables
    RUN/run.json               data folder and its fingerprint, backbone, versions
    RUN/<stage>/weights.*      inference weights of a stage (moving averages)
    RUN/<stage>/stage.json     steps done, seconds, figures of the stage
    RUN/<stage>/checkpoints/   everything training needs to continue
    RUN/damsm/                 AttnGAN's stage of its own, before the last
    RUN/embedding/             φ's stage of its own, before the last, if it has steps
    RUN/<stage>/rollbacks.json steps and scenes at which training rolled back, if it did
    RUN/retrievegan/redraws/   embeddings with which candidates were redrawn, if they were
    RUN/pictures/              fixed scenes drawn during training
    RUN/logs/                  TensorBoard
    RUN/lock                   locked by the training process

A run that ships with the project is named `released:NAME` and holds no checkpoints and no data.
"""

from rgan_tf.runs.bank_fit import (
    check_bank_fits,
    check_learns_retrieval,
    check_own_retriever,
)
from rgan_tf.runs.continuing import (
    check_stages_fit,
    checkpoint_identity,
    is_same_stage,
    take_stages,
)
from rgan_tf.runs.folder import (
    DAMSM,
    EMBEDDING,
    STAGES,
    Run,
    check_run_folder,
    create_run,
    is_finished,
    open_run,
    run_name,
    stages_of,
    uses_embedding,
)
from rgan_tf.runs.lock import training_lock
from rgan_tf.runs.weights import load_weights, save_weights, write_state

__all__ = [
    "DAMSM",
    "EMBEDDING",
    "STAGES",
    "Run",
    "check_bank_fits",
    "check_learns_retrieval",
    "check_own_retriever",
    "check_run_folder",
    "check_stages_fit",
    "checkpoint_identity",
    "create_run",
    "is_finished",
    "is_same_stage",
    "load_weights",
    "open_run",
    "run_name",
    "save_weights",
    "stages_of",
    "uses_embedding",
    "take_stages",
    "training_lock",
    "write_state",
]
