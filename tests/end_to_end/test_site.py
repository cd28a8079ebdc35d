"""The site builds without a warning, names all that is public, and its computed pages say what their sources say."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fewshot

ROOT = Path(__file__).parents[2]
LINKED = ("fewshot", "conf", "data_manifests")


def test_every_public_name_is_in_the_reference():
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(named) == len(set(named))
    assert {f"{module}.{name}" for name, module in fewshot._PUBLIC.items()} <= set(named)


def test_every_page_is_in_the_menu_and_every_notebook_has_one():
    pages = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE))
    notebooks = {f"notebooks/{path.stem}.md" for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
    computed = notebooks | {"results.md"}
    written = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - computed
    assert pages == written | computed


@pytest.fixture
def checkout(tmp_path):
    """A copy of what the site is made of: computed pages must not be left in the real one."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("results.md"))
    for page in (tmp_path / "docs" / "notebooks").glob("*.md"):
        page.unlink()
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def built(checkout, builder, *arguments):
    found = subprocess.run(
        [sys.executable, "-m", builder, "build", "--strict", *arguments],
        cwd=checkout,
        env=os.environ | {"FEWSHOT_RUN_NOTEBOOKS": "0", "PYTHONPATH": str(checkout), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return checkout / "site"


@pytest.mark.slow
def test_mkdocs_builds_it_without_a_warning(checkout):
    for name in ("mkdocs", "material", "mkdocstrings", "nbconvert"):
        pytest.importorskip(name)
    site = built(checkout, "mkdocs")
    for page in ("tutorial", "notebooks/03_transductive_and_imbalance", "reference", "results"):
        assert (site / page / "index.html").is_file()
    assert "the values <code>0..classes-1</code>" in (site / "reference" / "index.html").read_text(encoding="utf-8")
    results = (site / "results" / "index.html").read_text(encoding="utf-8")
    for line in (ROOT / "data_manifests" / "published" / "results.csv").read_text(encoding="utf-8").splitlines()[1:6]:
        assert line.split(",")[10] in results


@pytest.mark.slow
def test_its_successor_builds_it_too(checkout):
    for name in ("zensical", "mkdocstrings", "nbconvert"):
        pytest.importorskip(name)
    without = os.environ | {"FEWSHOT_RUN_NOTEBOOKS": "0"}
    subprocess.run(
        [sys.executable, "scripts/site_pages.py"], cwd=checkout, env=without, check=True, capture_output=True
    )
    site = built(checkout, "zensical")
    for page in ("notebooks/03_transductive_and_imbalance", "reference", "results"):
        assert (site / page / "index.html").is_file()


def test_rows_of_ours_stand_beside_the_papers(checkout, monkeypatch):
    pytest.importorskip("nbformat")
    import dataclasses

    from fewshot.leaderboard.row import Row
    from fewshot.leaderboard.table import append

    # The script puts its own checkout in front.
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("site_pages_of_copy", checkout / "scripts" / "site_pages.py")
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    assert "Beside ours" not in pages.results_page()
    values = {field.name: field.type() if isinstance(field.type, type) else None for field in dataclasses.fields(Row)}
    values |= {"data": "omniglot", "way": 5, "shot": "1", "query": 15, "imbalance": "none", "head": "prototype"}
    values |= {"backbone": "conv4", "learner": "metric_learner", "loss": "cross_entropy", "accuracy": 98.5, "ci95": 0.2}
    append(
        checkout / "docs/leaderboard/own.csv", Row(**values | {"train_protocol": "60-way 1-shot 5-query", "name": "x"})
    )
    (checkout / "docs/leaderboard/other.csv").write_text("a,b\n1,2\n")
    text = pages.results_page()
    assert "## Beside ours: own" in text
    assert "| omniglot 5-way 1-shot | ProtoNet | 60-way 1-shot 5-query | 98.80 | 98.50 ± 0.20 | -0.30 | yes |" in text
