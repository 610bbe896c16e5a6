"""From scene graphs to texts, and from texts to numbers; no TensorFlow.

Every relationship is a sentence "subject predicate object", and sentences are linked by "and".
Objects in no relationship are not mentioned, as in the comparison of the RetrieveGAN paper: the
text is what this rival sees of a graph, and objects of one class have one word.
"""

from __future__ import annotations

import dataclasses
import functools
import re

from rgan_tf.errors import BadInput
from rgan_tf.vocabulary import RESERVED_PREDICATES, Vocabulary

LINK = "and"
PADDING_WORD = 0

_ROUNDED_TO = 8  # of the length of all texts


def words_of(text: str) -> list[str]:
    """Lower-case runs of word characters; everything else separates, and non-ASCII is dropped."""
    return re.findall(r"\w+", text.encode("ascii", "ignore").decode().lower())


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """The words of all texts that a vocabulary allows; none is unknown.

    A function of the run's vocabulary, which is stored with it.

    Attributes:
      vocabulary: the tables of a run.

    Raises:
      BadInput: if a name has no word, so that texts could not mention it.
    """

    vocabulary: Vocabulary

    def __post_init__(self):
        for kind, names in (
            ("category", self.vocabulary.categories),
            ("predicate", self._predicates),
        ):
            for name in names:
                if not words_of(name):
                    raise BadInput(
                        f"{kind} {name!r}: has no word of ASCII letters or digits, and AttnGAN "
                        "reads texts; rename it in the data, or choose another training.system"
                    )

    @functools.cached_property
    def words(self) -> tuple[str, ...]:
        """Sorted; the id of a word is its place counted from 1."""
        names = (*self.vocabulary.categories, *self._predicates, LINK)
        return tuple(sorted({word for name in names for word in words_of(name)}))

    @property
    def size(self) -> int:
        """Number of ids, with `PADDING_WORD`."""
        return len(self.words) + 1

    def ids_of(self, text: str) -> list[int]:
        """The ids of a text's words.

        Raises:
          BadInput: for a word that no text of this vocabulary has.
        """
        unknown = [word for word in words_of(text) if word not in self._ids]
        if unknown:
            raise BadInput(f"text: unknown word {unknown[0]!r}; write names of the vocabulary")
        return [self._ids[word] for word in words_of(text)]

    def longest(self, *, objects: int, triples: int) -> int:
        """Number of words in which every text of that many objects and triples has room."""
        category, predicate = (
            max((len(words_of(name)) for name in names), default=0)
            for names in (self.vocabulary.categories, self._predicates)
        )
        of_triples = triples * (2 * category + predicate) + max(triples - 1, 0)
        of_names = objects * category + max(objects - 1, 0)
        return -(-max(of_triples, of_names, 1) // _ROUNDED_TO) * _ROUNDED_TO

    @property
    def _predicates(self) -> tuple[str, ...]:
        return self.vocabulary.predicates[len(RESERVED_PREDICATES) :]

    @functools.cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words, start=1)}
