"""Pictures say what the rows say; the page needs nothing else, and its columns sort."""

import base64
import html
import json
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.stats import friedmanchisquare, rankdata

from fewshot.cli.leaderboard import main
from fewshot.errors import FewshotError
from fewshot.leaderboard.critical_difference import cliques, critical_difference, draw_mean_ranks, mean_ranks
from fewshot.leaderboard.methods import method_names
from fewshot.leaderboard.plots import draw_accuracies, draw_cost, draw_shots
from fewshot.leaderboard.rank_blocks import ranks_of_rows
from fewshot.leaderboard.run_files import accuracies_of
from fewshot.leaderboard.table import read

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)


@pytest.fixture
def rows(rows, episodes):
    rows.run(episodes(), run="leak", pretraining="imagenet1k (leaks novel classes)")
    return rows


def test_critical_differences_are_those_of_the_table_of_nemenyi():
    # Demsar 2006, table 5a: q of 0.05 times the root of k (k + 1) / 6 N.
    for methods, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)):
        assert critical_difference(methods, 10) == pytest.approx(q * (methods * (methods + 1) / 60) ** 0.5, rel=1e-3)


def test_mean_ranks_and_friedman_are_scipys():
    values = np.random.default_rng(0).normal(size=(12, 4)) + np.array([0, 0.2, 1.5, 1.6])
    found = mean_ranks(values, list("abcd"))
    expected = rankdata(-values, axis=1).mean(axis=0)
    assert found.ranks == pytest.approx(np.sort(expected))
    assert found.names == [list("abcd")[i] for i in np.argsort(expected)]
    assert found.friedman_p == pytest.approx(friedmanchisquare(*values.T).pvalue)
    assert found.ranks.sum() == pytest.approx(10)
    assert (found.apart == (np.abs(found.ranks[:, None] - found.ranks) >= found.critical)).all()
    assert cliques(found.apart) == [(0, 1), (2, 3)]


def test_bars_lie_over_longest_runs_only():
    apart = np.zeros((4, 4), dtype=bool)
    apart[0, 2] = apart[2, 0] = apart[0, 3] = apart[3, 0] = True
    assert cliques(apart) == [(0, 1), (1, 3)]
    assert cliques(np.zeros((4, 4), dtype=bool)) == [(0, 3)]
    assert cliques(~np.eye(4, dtype=bool)) == []


def test_few_blocks_are_refused_and_many_episodes_tell_pairs_apart():
    with pytest.raises(FewshotError, match="6 blocks and 2 methods, here are 5 and 3"):
        mean_ranks(np.zeros((5, 3)), list("abc"))
    equal = mean_ranks(np.ones((50, 3)), list("abc"), test="wilcoxon")
    assert not equal.apart.any()
    assert list(equal.ranks) == [2, 2, 2]
    values = np.random.default_rng(1).normal(size=(200, 3)) + np.array([0, 0, 1])
    found = mean_ranks(values, list("abc"), test="wilcoxon")
    assert cliques(found.apart) == [(1, 2)]
    assert found.names[0] == "c"


def test_blocks_are_questions_where_there_are_six_and_else_episodes(board, episodes):
    for place, head in enumerate(("prototype", "ridge", "matching")):
        for shot in range(1, 6):
            board.run(episodes(0.05 * place, seed=shot), run=f"{head}{shot}", head=head, shot=str(shot))
    found, title = ranks_of_rows(read(board.path), accuracies_of)
    assert found.blocks == 300
    assert "300 episodes" in title
    for place, head in enumerate(("prototype", "ridge", "matching")):
        board.run(episodes(0.05 * place, seed=9), run=f"{head}9", head=head, shot="9")
    found, title = ranks_of_rows(read(board.path), accuracies_of)
    assert found.blocks == 6
    assert "6 questions" in title
    assert found.names == ["matching", "ridge", "prototype"]
    assert list(found.ranks) == [1, 2, 3]


def test_methods_are_named_by_what_tells_them_apart(board, episodes):
    methods = [
        {"head": "prototype", "learner": "metric_learner", "loss": "cross_entropy"},
        {"head": "ridge", "learner": "metric_learner", "loss": "cross_entropy"},
        {"head": "linear", "learner": "maml(lr=0.1)", "loss": "cross_entropy"},
    ]
    for place, method in enumerate(methods):
        for seed in (0, 1):
            board.run(episodes(0.0, seed=seed), run=f"{place}-{seed}", seed=seed, **method)
    frame = read(board.path)
    assert list(method_names(frame))[::2] == ["metric_learner: prototype", "metric_learner: ridge", "maml: linear"]
    assert list(method_names(frame[:4]))[::2] == ["prototype", "ridge"]
    assert list(method_names(frame[:2])) == [frame["name"][0]] * 2
    board.run(episodes(0.0, seed=0), run="other", **(methods[1] | {"loss": "icnn"}))
    assert list(method_names(read(board.path)))[-1] == "metric_learner: ridge, icnn"
    assert len([line for axes in draw_cost(frame).axes for line in axes.lines if line.get_marker() == "o"]) == 3


def test_points_and_bars_are_where_the_rows_say(rows):
    frame = read(rows.path)
    drawn = draw_accuracies(frame)
    found = sorted(float(line.get_xdata()[0]) for axes in drawn.axes for line in axes.lines if line.get_marker() == "o")
    assert found == pytest.approx(sorted(frame["accuracy"]))
    assert len(drawn.axes) == 4, "a panel for each question"
    cost = draw_cost(frame)
    points = [line for axes in cost.axes for line in axes.lines if line.get_marker() == "o"]
    assert {round(float(line.get_xdata()[0]), 6) for line in points} == {round(2000 / 300, 6)}
    shots = draw_shots(frame)
    lines = [line for line in shots.axes[0].lines if len(line.get_xdata()) == 2 and line.get_marker() == "."]
    assert len(lines) == 3
    assert all(list(line.get_xdata()) == [1, 5] and line.get_ydata()[1] > line.get_ydata()[0] for line in lines)
    with pytest.raises(FewshotError, match="two or more shots"):
        draw_shots(frame[frame["shot"] == "1"])


@pytest.mark.parametrize("kind", ["accuracy", "cost", "ranks", "shots"])
def test_every_picture_is_written_by_its_command(rows, tmp_path, capsys, kind):
    assert main(["plot", kind, str(tmp_path / "a.png"), "--csv", str(rows.path)]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        main(["plot", kind, str(tmp_path / "a.doc"), "--csv", str(rows.path)])
    assert "ends in .png, .pdf or .svg" in capsys.readouterr().err


def test_a_diagram_of_two_methods_is_drawn(tmp_path):
    draw_mean_ranks(mean_ranks(np.eye(6)[:, :2] + [0, 1], ["a", "b"]), "t").savefig(tmp_path / "a.png")


class Reader(HTMLParser):
    """Tables of a page, its pictures, what it loads, and tags that were left open."""

    def __init__(self):
        super().__init__()
        self.tables, self.pictures, self.loads, self.open, self.values = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.loads += [given[name] for name in ("src", "href") if given.get(name, "data:").partition(":")[0] != "data"]
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)
        if tag == "img":
            self.pictures.append(given["src"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.values.append(given.get("data-value"))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "button"):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def page(rows, tmp_path):
    target = tmp_path / "board.html"
    assert main(["export", str(target), "--csv", str(rows.path), "--title", "A & B"]) == 0
    return target


def test_the_page_is_whole_and_needs_nothing_else(rows, page):
    reader = Reader()
    text = page.read_text()
    reader.feed(text)
    assert reader.open == []
    assert reader.loads == [], "nothing is loaded from elsewhere"
    assert "<title>A &amp; B</title>" in text
    assert 'alert("x")' not in text, "a name is no program"
    assert [len(table) - 1 for table in reader.tables] == [3, 1, 1, 3]
    assert {len(line) for table in reader.tables for line in table} == {15}
    head = reader.tables[0][0]
    assert head[:4] == ["rank", "accuracy %", "behind", "p"]
    frame = read(rows.path)
    shown = {line[head.index("accuracy %")] for table in reader.tables for line in table[1:]}
    assert shown == {f"{row['accuracy']:.2f} ± {row['ci95']:.2f}" for _, row in frame.iterrows()}
    assert any(line[head.index("name")] == rows.nasty for line in reader.tables[0][1:])
    assert len(reader.pictures) == 4
    for picture in reader.pictures:
        assert base64.b64decode(picture.partition(",")[2]).startswith(b"\x89PNG")
    assert 'class="leak"' in text


@pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: the page is parsed by the other test, its script is not run"
)
def test_a_real_browser_sorts_filters_shows_the_pictures_and_complains_of_nothing(page):
    watch = """<script>
    window.complaints = [];
    addEventListener("error", event => complaints.push(String(event.message || event.target.tagName)), true);
    console.error = console.warn = (...words) => complaints.push(words.join(" "));
    </script></head>"""
    use = """<script>
    const table = document.querySelectorAll("table")[0];
    const button = table.querySelectorAll("th button")[1];
    const rows = () => [...table.tBodies[0].rows];
    const column = () => rows().map(row => Number(row.cells[1].dataset.value));
    button.click(); const up = column(); button.click(); const down = column();
    const sorted = button.parentElement.getAttribute("aria-sort");
    const box = document.querySelector("#filter");
    box.value = "ridge"; box.dispatchEvent(new Event("input"));
    const seen = rows().filter(row => row.offsetHeight > 0).map(row => row.textContent);
    box.value = ""; box.dispatchEvent(new Event("input"));
    // The event comes after that of every picture; what is done in it is done before the page is printed.
    addEventListener("load", () => {
      const pictures = [...document.images];
      const sizes = pictures.map(picture => Math.min(picture.naturalWidth, picture.offsetWidth, picture.offsetHeight));
      document.body.dataset.found = JSON.stringify({up, down, sorted, seen, sizes, complaints});
    });
    </script></body>"""
    page.write_text(page.read_text().replace("</head>", watch, 1).replace("</body>", use))
    found = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = found.stdout.partition('data-found="')[2].partition('"')[0]
    saw = json.loads(html.unescape(said))
    assert saw["up"] == sorted(saw["up"])
    assert len(set(saw["up"])) == 3
    assert saw["down"] == saw["up"][::-1]
    assert saw["sorted"] == "descending"
    assert len(saw["seen"]) == 1
    assert "ridge" in saw["seen"][0]
    assert len(saw["sizes"]) == 4
    assert min(saw["sizes"]) > 100, "every picture has a size on the screen"
    assert saw["complaints"] == []
    # Messages of the console itself, those of before any script too.
    assert ":CONSOLE" not in found.stderr, found.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_broken_page_would_be_found_out(page):
    page.write_text(page.read_text().replace("</body>", "<script>nothing.at.all()</script></body>"))
    found = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ":CONSOLE" in found.stderr
    assert "nothing is not defined" in found.stderr
