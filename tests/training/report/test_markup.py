"""Whatever a name holds, it stays text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.training.report.reading import Page
from training.report.markup import Markup, join, number, table, tag


def test_elements_are_nested_and_text_is_escaped():
    inner = tag("b", "a < b & c")
    assert inner == "<b>a &lt; b &amp; c</b>"
    assert tag("p", inner, 3, None, class_="x") == f'<p class="x">{inner}3</p>'
    assert tag("img", src='"x"') == '<img src="&quot;x&quot;">'
    assert tag("svg", view_box="0 0 1 1", text_anchor="end") == (
        '<svg viewBox="0 0 1 1" text-anchor="end"></svg>'
    )
    assert not isinstance("<b>" + "x", Markup)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_text_is_read_back_as_it_was(text):
    page = Page(tag("p", text) + table([text], [[text]]) + tag("i", title=text))
    assert page.tags == ["p", "table", "thead", "tr", "th", "tbody", "tr", "td", "i"]
    assert page.text == 3 * text
    assert page.attributes == [("title", text)]


def test_what_html_has_no_place_for_is_replaced():
    assert tag("p", "a\x00b\x1b") == "<p>a\ufffdb\ufffd</p>"
    assert join(["lone \ud800"]).encode("utf-8") == b"lone ?"


def test_unescaped_text_would_be_found():
    assert Page("<p>" + "<script>x</script>").tags == ["p", "script"]


def test_numbers_for_people():
    shown = [number(v) for v in (3, 3.0, 0.123456, 12345.6, 1e-7, float("nan"), float("inf"), True)]
    assert shown == ["3", "3", "0.1235", "12346", "1e-07", "nan", "inf", "True"]


def test_cells_that_are_missing_show_a_dash_and_numbers_stand_right():
    made = table(["a", "b", "c"], [["x", None, 2.5]])
    assert '<td>x</td><td class="number">–</td><td class="number">2.5</td>' in made
