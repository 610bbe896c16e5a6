"""What a report says: worked by hand, and of simulated participants."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.study.answers import Answers
from training.study.key import Key, KeyPair, read_key
from training.study.report import evaluate

LEFT, RIGHT = "left", "right"


def test_two_participants_by_hand(study, answer, rgan):
    # Set a is on the left in p1 and p3, on the right in p2, p4, and in p5, which repeats p1.
    ann = answer("Ann", [LEFT, RIGHT, RIGHT, RIGHT, RIGHT])  # a a b a, and a again
    bob = answer("Bob", [RIGHT, RIGHT, RIGHT, LEFT, RIGHT])  # b a b b, and now a
    done = rgan("study", "report", "--study", study, "--answers", ann, bob)
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["a"], result["b"]) == ("learned", "graph_nearest")
    assert (result["participants"], result["pairs"], result["answers"]) == (2, 4, 8)
    assert (result["for_a"], result["preference"], result["unanswered"]) == (4, 0.5, 0)
    assert result["p_value"] == 1.0
    assert result["wilson_95"] == pytest.approx([0.2152, 0.7848], abs=1e-4)
    assert result["bootstrap_95"] == [0.25, 0.75]  # Bob alone, Ann alone
    assert result["consistency"] == {"repeated": 2, "same": 1, "share": 0.5}
    assert result["left_share"] == 0.2
    assert result["median_seconds"] == 3.0
    assert result["per_participant"]["Ann"]["preference"] == 0.75
    assert result["per_participant"]["Bob"]["consistency"]["same"] == 0

    style = result["stand_ins"]["style_agreement"]  # a, tie, b, a
    assert (style["pairs"], style["ties"], style["pairs_for_a"]) == (4, 1, 2)
    assert (style["mean_a"], style["mean_b"]) == (0.625, 0.5)
    # Ann agrees in p1, p3, p4, Bob in p3.
    assert (style["agreement"]["answers"], style["agreement"]["alike"]) == (6, 4)
    distance = result["stand_ins"]["cooccurrence_distance"]  # a, b, a, a: smaller is better
    assert (distance["ties"], distance["pairs_for_a"]) == (0, 3)
    # Ann agrees in p1 and p4, Bob nowhere.
    assert (distance["agreement"]["answers"], distance["agreement"]["alike"]) == (8, 2)

    text = (study / "report.md").read_text()
    assert "**learned was preferred in 50.0 % of the answers** (4 of 8)" in text
    assert "| Ann | 4 | 3 | 75.0 % | 1 of 1, 100.0 % | 20.0 % | 3.0 s |" in text
    assert "| style agreement | higher | 0.625 | 0.500 | 2 of 3 | 1 | 4 of 6, 66.7 %" in text


def test_missing_answers_are_counted_and_names_stay_text(study, answer, rgan):
    short = answer("<b>|*Zoë*", [LEFT, LEFT])
    result = json.loads(rgan("study", "report", "--study", study, "--answers", short).out)
    assert (result["answers"], result["unanswered"], result["for_a"]) == (2, 2, 1)
    assert result["bootstrap_95"] is None
    assert result["consistency"] == {"repeated": 0, "same": 0, "share": None}
    assert "| \\<b\\>\\|\\*Zoë\\* | 2 | 1 |" in (study / "report.md").read_text()
    # With more answers the report is written anew.
    more = rgan("study", "report", "--study", study, "--answers", short, answer("Ann"))
    assert more.code == 0 and "Ann" in (study / "report.md").read_text()


def test_answers_to_repeats_alone_and_no_answers_at_all(study, answer, rgan):
    path = answer(answers=[{"pair": "p5", "choice": "left", "milliseconds": 1}])
    for words in ([path], []):
        done = rgan("study", "report", "--study", study, "--answers", *words)
        assert done.code == 2 and done.out == "" and done.err.count("\n") == 1
    assert not (study / "report.md").exists()


def test_a_report_of_somebody_else_stays(study, answer, rgan):
    (study / "report.md").write_text("my notes")
    done = rgan("study", "report", "--study", study, "--answers", answer())
    assert done.code == 2 and "report.md: was not written by rgan study" in done.err
    assert (study / "report.md").read_text() == "my notes"


def test_without_styles_there_is_no_style_figure(study, answer):
    key = read_key(study)
    for pair in key.pairs.values():
        for side in ("a", "b"):
            del pair.figures[side]["style_agreement"]
    person = Answers("Ann", {"p1": "a"}, {"p1": LEFT}, {"p1": 1.0})
    assert set(evaluate(key, [person])["stand_ins"]) == {"cooccurrence_distance"}


def simulated_key(pairs: int = 30, repeats: int = 5) -> Key:
    rng = np.random.default_rng(0)
    made = [
        KeyPair(
            f"p{i}", "ab"[i % 2], None, {"a": {"style_agreement": v}, "b": {"style_agreement": w}}
        )
        for i, (v, w) in enumerate(rng.random([pairs, 2]))
    ]
    made += [KeyPair(f"r{i}", "ba"[i % 2], f"p{i}", made[i].figures) for i in range(repeats)]
    return Key("page", {"a": "learned", "b": "random"}, {pair.id: pair for pair in made})


def person(key: Key, name: str, side_of) -> Answers:
    sides = {pair.id: side_of(pair) for pair in key.pairs.values()}
    chosen = {name: key.pairs[name].chosen(side) for name, side in sides.items()}
    return Answers(name, chosen, sides, dict.fromkeys(sides, 1000.0))


def prefers_a(rng, share: float):
    def side_of(pair):
        wants_left = (pair.left == "a") == (rng.random() < share)
        return LEFT if wants_left else RIGHT

    return side_of


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_interval_of_a_simulated_participant_covers_the_truth(share):
    key, rng = simulated_key(), np.random.default_rng(3)
    results = [evaluate(key, [person(key, "x", prefers_a(rng, share))]) for _ in range(1500)]
    covered = np.mean([r["wilson_95"][0] <= share <= r["wilson_95"][1] for r in results])
    assert 0.94 < covered < 0.98
    # Repeats are answered alike with p² + (1 - p)².
    same = np.mean([r["consistency"]["share"] for r in results])
    assert same == pytest.approx(share**2 + (1 - share) ** 2, abs=0.04)
    significant = np.mean([r["p_value"] < 0.05 for r in results])
    assert significant < 0.07 if share == 0.5 else significant > 0.6


def test_who_clicks_left_always_prefers_nothing_and_shows_it():
    key = simulated_key()
    result = evaluate(key, [person(key, "x", lambda pair: LEFT)])
    assert result["preference"] == 0.5 and result["p_value"] == 1.0
    assert result["left_share"] == 1.0 and result["consistency"]["share"] == 0.0


def test_who_follows_a_stand_in_agrees_with_it_and_a_contrarian_never_does():
    key = simulated_key()

    def follow(pair):
        better = max("ab", key=lambda side: pair.figures[side]["style_agreement"])
        return LEFT if pair.left == better else RIGHT

    def contradict(pair):
        return RIGHT if follow(pair) == LEFT else LEFT

    for side_of, share in ((follow, 1.0), (contradict, 0.0)):
        style = evaluate(key, [person(key, "x", side_of)])["stand_ins"]["style_agreement"]
        assert style["agreement"]["answers"] == 30 and style["agreement"]["share"] == share
