"""Geometric relationships, drawn anew for every epoch as sg2im draws them at every reading."""

from __future__ import annotations

import numpy as np

from rgan_tf.annotations.relations import geometric_relations
from rgan_tf.data.scenes import SceneStore
from rgan_tf.errors import CorruptData
from rgan_tf.seeds import Purpose
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES, Vocabulary


class GeometricTriples:
    """The relationships of any scene in any epoch: a function of seed, epoch and scene alone.

    Args:
      scenes: with centres.
      vocabulary: has the geometric predicates.
      seed: of the run; at least 0.

    Raises:
      CorruptData: if the scenes lack centres.
    """

    def __init__(self, scenes: SceneStore, vocabulary: Vocabulary, seed: int):
        if scenes.centres is None:
            raise CorruptData("records: some hold no centres of objects; prepare the data again")
        self._objects, self._boxes = scenes.objects, scenes.boxes
        self._centres = scenes.centres
        self._most = scenes.triples.shape[1]
        self._seed = seed
        self._ids = {name: vocabulary.predicate_id(name) for name in GEOMETRIC_PREDICATES}

    def of(self, epochs: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Draws the relationships of a batch.

        Args:
          epochs: [B] int, from 0.
          positions: [B] int, the scenes by position.

        Returns:
          [B, T, 3] int32, subject, predicate id, object; -1 for padding. Each object is related to
          one other; of a scene with more than T relationships the first T stay.
        """
        result = np.full([len(positions), self._most, 3], -1, np.int32)
        for row, (epoch, position) in enumerate(zip(epochs, positions, strict=True)):
            count = int((self._objects[position] > 0).sum())
            drawn = geometric_relations(
                self._boxes[position, :count].tolist(),
                self._centres[position, :count].tolist(),
                np.random.default_rng(
                    [self._seed, int(Purpose.RELATIONS), int(epoch), int(position)]
                ),
            )
            for place, (subject, predicate, target) in enumerate(drawn[: self._most]):
                result[row, place] = (subject, self._ids[predicate], target)
        return result
