"""Each notebook of docs/notebooks, run in a fresh kernel in an empty folder as a reader would; none is kept with outputs."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("ipywidgets")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def site_pages():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "scripts" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from fewshot.data.catalog import open_dataset

    place = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEWSHOT_DATA", str(place))
        data = open_dataset("glyphs")
        for split in data.splits:
            data.prepare(split)
    return str(place)


def test_there_are_five():
    assert [path.stem.partition("_")[0] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs(notebook):
    """Numbers in a repository grow old: readers get them from their own run, the site from the run that made it."""
    kept = json.loads(notebook.read_text(encoding="utf-8"))
    for cell in kept["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert kept["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_what_it_finds(notebook, site_pages, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("FEWSHOT_DATA", prepared)
    # Of the process that runs the tests.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    found = site_pages.run_notebook(notebook, tmp_path)
    outputs = [output for cell in found.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= kinds, "tables and figures"
    said = "".join(output.get("text", "") for output in outputs)
    assert "Traceback" not in said
    # A command of a cell that fails raises nothing.
    assert "error" not in said.lower()
    assert not [output for output in outputs if output.get("name") == "stderr" and "Warning" in output["text"]]
    if "01" in notebook.stem:
        assert "application/vnd.jupyter.widget-view+json" in kinds, "a bar while it trains"
    if importlib.util.find_spec("nbconvert") is None:
        return
    page, pictures = site_pages.notebook_page(found, notebook.stem)
    assert page.startswith("# ")
    assert len(pictures) == sum("image/png" in output.get("data", {}) for output in outputs)
    assert all(name in page for name in pictures)
