"""Whatever a name holds, it stays text."""

from __future__ import annotations

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.report.reading import Page
from training.report.page import TEMPLATES
from training.templates import html_environment, page_bytes, shown

ENVIRONMENT = html_environment(TEMPLATES)
MACROS = ENVIRONMENT.get_template("macros.html").module


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_is_read_back_as_it_was(text):
    template = ENVIRONMENT.from_string('<p>{{ text }}</p><i title="{{ text }}"></i>')
    table = str(MACROS.table([text], [[text]])).replace("\n", "")
    page = Page(template.render(text=text) + table)
    assert page.tags == ["p", "i", "table", "thead", "tr", "th", "tbody", "tr", "td"]
    assert page.text == 3 * text
    assert page.attributes == [("title", text)]


def test_what_html_has_no_place_for_is_replaced():
    assert page_bytes("a\x00b\x1b\n lone \ud800") == "a\ufffdb\ufffd\n lone ?".encode()


def test_unescaped_text_would_be_found():
    assert Page("<p>" + "<script>x</script>").tags == ["p", "script"]


def test_what_is_missing_is_an_error_and_no_gap():
    with pytest.raises(jinja2.UndefinedError, match="'figure' is undefined"):
        ENVIRONMENT.from_string("{{ figure }}").render()


def test_values_for_people():
    values = (3, 3.0, 0.123456, 12345.6, 1e-7, float("nan"), float("inf"), True, None, "x")
    said = ["3", "3", "0.1235", "12346", "1e-07", "nan", "inf", "yes", "–", "x"]
    assert [str(shown(value)) for value in values] == said


def test_settings_are_given_in_full():
    values = [0.123456, 400000, True, "x", ["a", 0.123456]]
    said = ["0.123456", "400000", "yes", "x", "a, 0.123456"]
    assert [str(MACROS.setting(value)) for value in values] == said


def test_cells_that_are_missing_show_a_dash_and_numbers_stand_right():
    made = MACROS.table(["a", "b", "c"], [["x", None, 2.5]])
    assert '<td>x</td><td class="number">–</td><td class="number">2.5</td>' in made
