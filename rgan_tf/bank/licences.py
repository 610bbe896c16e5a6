"""Names of licences as datasets write them, as short codes, and filters by code."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from rgan_tf.arguments import text_list
from rgan_tf.errors import BadInput

UNKNOWN = "unknown"
PUBLIC_DOMAIN = "public-domain"
OTHER = "other"
# From the freest to the strictest; `other` is any name not understood.
CODES = (
    PUBLIC_DOMAIN,
    "BY",
    "BY-SA",
    "BY-ND",
    "BY-NC",
    "BY-NC-SA",
    "BY-NC-ND",
    "built-in",
    OTHER,
    UNKNOWN,
)

# COCO writes the names out; others write the codes, with or without CC and a version.
_WORDS = {
    "attribution": "BY",
    "by": "BY",
    "noncommercial": "NC",
    "nc": "NC",
    "sharealike": "SA",
    "sa": "SA",
    "noderivs": "ND",
    "noderivatives": "ND",
    "nd": "ND",
}
_IGNORED = {"cc", "creative", "commons", "licence", "license", "generic", "international"}
_BETWEEN = re.compile(r"[\s\-\u2013\u2014_/():]+")  # words; dashes of all lengths
_VERSION = re.compile(r"(v?[\d.]+)?")
_PUBLIC_DOMAIN_NAMES = ("no known copyright restrictions", "united states government work")
# A name that has one of these is of the public domain, if it has none but the words below.
_FREE = ({"cc0"}, {"pdm"}, {"public", "domain"}, {"cc", "zero"}, {"commons", "zero"})
_PUBLIC_DOMAIN_WORDS = _IGNORED.union(*_FREE, {"dedication", "mark", "universal", "deed"})


def licence_code(name: str) -> str:
    """The code of a licence name.

    Args:
      name: as the dataset writes it, such as "Attribution-ShareAlike License" or "CC BY-SA 4.0".

    Returns:
      One of `CODES`; `UNKNOWN` for an empty name, `OTHER` for one that is not understood.
    """
    text = " ".join(name.lower().split())
    if not text or text == UNKNOWN:
        return UNKNOWN
    if text in ("built-in", "procedural"):
        return "built-in"
    words = [word for word in _BETWEEN.split(text) if not _VERSION.fullmatch(word)]
    is_free = any(free.issubset(words) for free in _FREE)
    if text in _PUBLIC_DOMAIN_NAMES or (is_free and _PUBLIC_DOMAIN_WORDS.issuperset(words)):
        return PUBLIC_DOMAIN
    parts = [_WORDS.get(word) for word in words if word not in _IGNORED]
    code = "-".join(part or "?" for part in parts)
    return code if code in CODES else OTHER


@dataclasses.dataclass(frozen=True)
class LicenceFilter:
    """Which licences may be used; `LicenceFilter.parse` reads what a user writes.

    Attributes:
      codes: the allowed ones of `CODES`; None allows all.
    """

    codes: frozenset[str] | None = None

    @classmethod
    def parse(cls, values: Sequence[str] | None, option: str = "--licence") -> LicenceFilter:
        """Reads the values of `--licence`: codes in any case, separated by commas.

        Args:
          values: what the user wrote, one text or several; None allows all.
          option: its name in messages.

        Raises:
          BadInput: if there is none, or one is not a code; lists the codes.
        """
        if values is None:
            return cls()
        names = [part.strip() for value in text_list(values, option) for part in value.split(",")]
        if not names:
            raise BadInput(
                f"{option}: names no code; choose from {', '.join(CODES)}, or leave it out"
            )
        known = {code.lower(): code for code in CODES}
        for name in names:
            if name.lower() not in known:
                raise BadInput(f"{option} {name!r}: not known; choose from {', '.join(CODES)}")
        return cls(frozenset(known[name.lower()] for name in names))

    def allows(self, name: str) -> bool:
        """Whether a licence of that name is allowed."""
        return self.codes is None or licence_code(name) in self.codes

    def refused(self, names: Iterable[str]) -> list[bool]:
        """For each name, whether it is not allowed."""
        return [not self.allows(name) for name in names]

    def __str__(self) -> str:
        if self.codes is None:
            return "all licences"
        return ", ".join(code for code in CODES if code in self.codes)
