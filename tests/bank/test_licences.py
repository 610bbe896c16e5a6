"""Licence names of datasets as codes, and the filter of --licence."""

from __future__ import annotations

import pytest

from rgan_tf.bank.licences import CODES, LicenceFilter, licence_code
from rgan_tf.errors import BadInput


@pytest.mark.parametrize(
    ("name", "code"),
    [
        # The eight of COCO, as its files write them.
        ("Attribution-NonCommercial-ShareAlike License", "BY-NC-SA"),
        ("Attribution-NonCommercial License", "BY-NC"),
        ("Attribution-NonCommercial-NoDerivs License", "BY-NC-ND"),
        ("Attribution License", "BY"),
        ("Attribution-ShareAlike License", "BY-SA"),
        ("Attribution-NoDerivs License", "BY-ND"),
        ("No known copyright restrictions", "public-domain"),
        ("United States Government Work", "public-domain"),
        ("CC BY-SA 4.0", "BY-SA"),
        ("cc-by-nc-nd 2.0", "BY-NC-ND"),
        ("CC0 1.0 Universal", "public-domain"),
        ("CC0-1.0", "public-domain"),
        ("CC0: Public Domain", "public-domain"),
        ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "public-domain"),
        ("Creative Commons Zero v1.0 Universal", "public-domain"),
        ("Public Domain Mark 1.0", "public-domain"),
        ("CC0 1.0 Deed", "public-domain"),
        ("CC0 1.0 Universal \u2014 Creative Commons", "public-domain"),
        ("CC0 1.0 \u2014 but not the faces", "other"),
        # What allows less than its first word is not understood.
        ("CC0 (metadata), CC BY-NC (images)", "other"),
        ("CC0, not for commercial use", "other"),
        ("CC0 BY-NC", "other"),
        ("not public domain", "other"),
        ("universal", "other"),
        ("zero", "other"),
        ("domain", "other"),
        ("CC BY (4.0)", "BY"),
        ("", "unknown"),
        ("All rights reserved", "other"),
        ("Attribution-Something License", "other"),
        ("NonCommercial", "other"),
    ],
)
def test_code_of_a_name(name, code):
    assert licence_code(name) == code


def test_every_code_is_its_own_name():
    assert [licence_code(code) for code in CODES] == list(CODES)


def test_a_filter_allows_what_was_named_and_nothing_else():
    only = LicenceFilter.parse(["by, BY-SA", "public-domain"])
    names = ["Attribution License", "CC BY-SA 3.0", "CC0", "Attribution-NoDerivs License", ""]
    assert only.refused(names) == [False, False, False, True, True]
    assert str(only) == "public-domain, BY, BY-SA"


def test_no_filter_allows_all():
    assert LicenceFilter.parse(None).refused(["", "anything"]) == [False, False]


def test_an_unknown_code_is_refused_with_those_there_are():
    with pytest.raises(BadInput, match=r"--licence 'BYE': not known; choose from public-domain, "):
        LicenceFilter.parse(["BY,BYE"])
