"""What no test tells apart shares a rank; what was asked otherwise is not compared."""

import numpy as np
import pytest
from scipy import stats

from fewshot.cli.leaderboard import main
from fewshot.evaluation.variance import seeds_and_episodes
from fewshot.leaderboard.entries import compare, entries
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.run_files import accuracies_of
from fewshot.leaderboard.shared_ranks import shared_ranks
from fewshot.leaderboard.table import read


def ranks(board, **options):
    lines = shared_ranks(read(board.path), accuracies_of, **options)
    return dict(zip(lines["head"], lines["rank"], strict=True)), lines


def test_pairing_tells_apart_what_intervals_do_not(board, episodes):
    for place, (head, better) in enumerate({"best": 0.05, "good": 0.035, "bad": -0.2}.items()):
        board.run(episodes(better, seed=place + 1), run=head, head=head)
    by_range = rank(read(board.path))
    assert list(by_range["rank"]) == ["1-2", "1-2", "3"]
    found, lines = ranks(board)
    assert found == {"best": 1, "good": 2, "bad": 3}
    assert list(lines["test"]) == ["", "paired", "paired"]
    # Without the files the intervals are all there is.
    lines = shared_ranks(read(board.path), None)
    assert list(lines["rank"]) == [1, 1, 3]
    assert list(lines["ties"]) == ["2", "1", ""]


def test_corrected_p_values_are_those_of_scipy_and_holm(board, episodes):
    values = {head: episodes(better, seed) for head, better, seed in (("a", 0.02, 1), ("b", 0.0, 2), ("c", 0.005, 3))}
    for head, accuracies in values.items():
        board.run(accuracies, run=head, head=head)
    _, lines = ranks(board)
    order = list(lines["head"])
    pairs = [(0, 1), (0, 2), (1, 2)]
    p = [stats.ttest_rel(values[order[i]], values[order[j]]).pvalue for i, j in pairs]
    by_size = np.argsort(p)
    corrected = np.empty(3)
    corrected[by_size] = np.maximum.accumulate(np.minimum(1, np.array([3, 2, 1]) * np.array(p)[by_size]))
    assert list(lines["p"][1:]) == pytest.approx(corrected[:2])
    low, high = stats.ttest_rel(100 * values[order[1]], 100 * values[order[0]]).confidence_interval()
    assert (
        lines["behind"][1] - lines["behind_ci95"][1],
        lines["behind"][1] + lines["behind_ci95"][1],
    ) == pytest.approx((low, high))


def test_questions_transductive_rows_and_leaks_stay_apart(board, episodes):
    for place, changes in enumerate(
        (
            {},
            {"shot": "5"},
            {"transductive": True},
            {"pretraining": "imagenet1k (leaks novel classes)"},
            {"data": "cub"},
        )
    ):
        board.run(episodes(0.1 * place), run=str(place), **changes)
    lines = shared_ranks(read(board.path), accuracies_of)
    assert sorted(lines["group"]) == [1, 2, 3, 4, 5]
    assert set(lines["rank"]) == {1}


def test_seeds_are_joined_and_their_variance_counts(board, episodes):
    values = {
        head: np.stack([episodes(better + shift, seed=10 * place + s) for s, shift in enumerate((-0.02, 0.0, 0.02))])
        for place, (head, better) in enumerate((("one", 0.01), ("two", 0.0)))
    }
    for head, table in values.items():
        for seed, accuracies in enumerate(table):
            board.run(accuracies, run=f"{head}{seed}", head=head, seed=seed)
    found, lines = ranks(board)
    assert len(found) == 2
    assert list(lines["seeds"]) == ["0,1,2"] * 2
    for _, line in lines.iterrows():
        expected = seeds_and_episodes(100 * values[line["head"]])
        assert (line["accuracy"], line["ci95"]) == pytest.approx((expected.mean, expected.half_width))
    one, two = entries(rank(read(board.path)), accuracies_of, join_seeds=True)
    joint = compare(one, two)
    difference = seeds_and_episodes(one.values - two.values)
    assert joint.kind == "paired, seeds"
    assert (joint.difference, joint.half_width) == pytest.approx((difference.mean, difference.half_width))
    # The p-value is where the interval reaches 0.
    at = seeds_and_episodes(one.values - two.values, 1 - joint.p).half_width
    assert at == pytest.approx(abs(joint.difference), rel=1e-6)
    assert len(ranks(board, join_seeds=False)[1]) == 6


def test_a_row_on_other_episodes_is_compared_unpaired(board, episodes):
    board.run(episodes(0.05), run="a", head="a")
    board.run(episodes(0.0, seed=2), run="b", head="b", episodes_sha256="others")
    _, lines = ranks(board)
    assert lines["test"][1] == "unpaired"
    expected = stats.ttest_ind(100 * episodes(0.05), 100 * episodes(0.0, seed=2), equal_var=False)
    assert lines["p"][1] == pytest.approx(expected.pvalue)


def test_the_command_compares_and_refuses_what_differs(board, episodes, capsys):
    board.run(episodes(0.05), run="a", head="a")
    board.run(episodes(0.0, seed=2), run="b", head="b")
    board.run(episodes(0.0, seed=2), run="c", head="c", bank_fingerprint="other bank", pipeline="84")
    csv = ["--csv", str(board.path)]
    assert main(["compare", "head=a", "2", *csv]) == 0
    out = capsys.readouterr().out
    expected = stats.ttest_rel(100 * episodes(0.05), 100 * episodes(0.0, seed=2))
    low, high = expected.confidence_interval()
    assert f"A - B          {(low + high) / 2:+.3f} ± {(high - low) / 2:.3f} points" in out
    assert "Wilcoxon" in out
    assert "times as wide" in out
    for arguments, words in (
        (["1", "3"], "differ in pipeline (28, 84), bank_fingerprint (bank, other bank)"),
        (["1", "9"], "no row 9; rows are numbered 1 to 3"),
        (["1", "head~"], "means 3 rows of 3 methods"),
        (["1", "nobody"], "no row is 'nobody'"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["compare", *arguments, *csv])
        assert stop.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("form", ["table", "markdown", "csv"])
def test_rank_prints_every_method(board, episodes, capsys, form):
    board.run(episodes(0.05), run="a", head="alpha_head")
    board.run(episodes(0.0, seed=2), run="b", head="omega_head")
    assert main(["rank", "--csv", str(board.path), "--format", form]) == 0
    out = capsys.readouterr().out
    assert out.index("alpha_head") < out.index("omega_head")
