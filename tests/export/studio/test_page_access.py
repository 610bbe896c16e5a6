"""Who cannot see, point or bear motion uses the page as well: rules of axe-core, names, states."""

from __future__ import annotations

import pytest

from tests.export.studio.page import DESKTOP, PHONE, launched, node_modules, opened

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe():
    return (node_modules() / "axe-core" / "axe.min.js").read_text()


def _violations(page, axe) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize(
    ("scheme", "viewport"),
    [
        ("light", DESKTOP),
        pytest.param("dark", PHONE, marks=pytest.mark.thorough),
        pytest.param("dark", DESKTOP, marks=pytest.mark.thorough),
        pytest.param("light", PHONE, marks=pytest.mark.thorough),
    ],
)
def test_axe_finds_nothing(browser, axe, scheme, viewport):
    with opened(browser, color_scheme=scheme, viewport=viewport) as studio:
        page = studio.page
        is_phone = viewport is PHONE

        def check(state, *parts):
            for part in parts if is_phone else (None,):
                if part:
                    studio.tab(part)
                assert _violations(page, axe) == [], (state, part)

        if not is_phone:
            check("empty")
        page.click(".example >> nth=1")
        studio.settle()
        if is_phone:
            studio.tab("Graph")
        studio.choose("boat")
        for summary in page.locator("summary").all():
            summary.evaluate("one => { one.parentElement.open = true; }")
        check("an object, all opened", "Graph", "Picture", "Patches")
        if is_phone:
            studio.tab("Picture")
        page.click("text=Eight samples")
        page.wait_for_selector("button.sample >> nth=8")
        check("samples", "Picture")
        page.keyboard.press("c")
        check("connecting", "Picture")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.wait_for_selector("dialog")
        assert _violations(page, axe) == []
        page.keyboard.press("Escape")


def test_axe_finds_a_fault_that_is_made(browser, axe):
    with opened(browser) as studio:
        studio.page.evaluate(
            "() => document.querySelector('#search').removeAttribute('aria-label')"
            " ?? document.querySelector('#search').removeAttribute('placeholder')"
        )
        assert any(text.startswith("label:") for text in _violations(studio.page, axe))


def test_boxes_have_names_in_words_and_one_region_speaks(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("tree", "tree")
        page.click("text='Lock'")
        page.wait_for_selector("text='Locked'")
        names = page.eval_on_selector_all(
            "g.box", "all => all.map(one => one.getAttribute('aria-label'))"
        )
        assert [name.split(",")[0] for name in names] == ["tree 1", "tree 2"]
        assert "% from left" in names[0] and names[1].endswith("predicted, locked")
        assert page.locator("[aria-live]").count() == 1
        assert page.get_attribute(".boxes", "role") == "group"


@pytest.mark.thorough
def test_the_live_region_is_silent_during_a_drag(browser):
    with opened(browser) as studio:
        page = studio.page
        studio.add("sky", "house")
        page.evaluate(
            """() => {
              window.said = [];
              const region = document.querySelector('[role=status]');
              new MutationObserver(() => said.push(region.innerText))
                .observe(region, {subtree: true, childList: true, characterData: true});
            }"""
        )
        studio.drag(studio.middle("house"), (0.7, 0.7), steps=20)
        page.wait_for_timeout(100)
        said = page.evaluate("said")
        assert len(said) == 1 and said[0].startswith("house: ")


def test_targets_are_large_enough(browser):
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as studio:
        page = studio.page
        studio.tab("Graph")
        studio.add("sky", "house")
        small = """() => [...document.querySelectorAll('button, input, select, summary, .grip')]
          .filter(one => one.checkVisibility() && !one.classList.contains('unseen'))
          .map(one => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
          .filter(([, box]) => box.width > 0 && (box.width < 24 || box.height < 24))
          .map(([html]) => html).filter(html => !html.includes('checkbox'))"""
        for part in ("Graph", "Picture", "Patches"):
            studio.tab(part)
            assert page.evaluate(small) == []
        studio.tab("Picture")
        sides = page.eval_on_selector_all(
            ".of-corner .grip", "all => all.map(one => one.getBoundingClientRect().width)"
        )
        assert len(sides) == 4 and min(sides) >= 44


def test_reduced_motion_and_forced_colours(browser):
    options = {"reduced_motion": "reduce", "forced_colors": "active"}
    with opened(browser, **options) as studio:
        page = studio.page
        studio.add("sky", "house")
        durations = page.eval_on_selector_all(
            "*",
            """all => all.filter(one => one.isConnected)
              .map(one => getComputedStyle(one).transitionDuration)""",
        )
        assert set(durations) == {"0s"}
        ends = page.evaluate(
            """() => ['.box .edge', '.box .halo'].map(one =>
              getComputedStyle(document.querySelector(one)).stroke)"""
        )
        assert ends[0] != ends[1]


@pytest.mark.thorough  # reduced motion and forced colours stay
def test_the_colours_chosen_by_hand_stay(browser):
    with opened(browser, color_scheme="light") as studio:
        page = studio.page
        ground = "() => getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.click("[aria-label^='Colours']")
        page.click(".menu >> text='Dark'")
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        page.wait_for_selector(".app")
        assert page.evaluate(ground) == dark
