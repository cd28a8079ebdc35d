"""Make the pages of the site that are computed: each notebook, run, and the tables of published results.

`mkdocs build` calls this by itself; for other builders run `python scripts/site_pages.py` first. The pages lie in `docs/` beside
their sources and are not kept in the repository. With FEWSHOT_RUN_NOTEBOOKS=0 pages of notebooks have no results.
"""

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from fewshot.errors import FewshotError  # noqa: E402
from fewshot.files import write_text  # noqa: E402
from fewshot.leaderboard.published import beside, published  # noqa: E402
from fewshot.leaderboard.render import accuracy_text, markdown_table  # noqa: E402
from fewshot.leaderboard.table import read  # noqa: E402

_SECONDS = 600


def run_notebook(notebook: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with what its cells gave, from a fresh kernel in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    from nbclient import NotebookClient

    found = nbformat.read(notebook, as_version=4)
    # The commands that cells call are those of this environment and this checkout, on one thread.
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep),
        "FEWSHOT_DATA": os.environ.get("FEWSHOT_DATA", str(ROOT / "data")),
        "OMP_NUM_THREADS": "1",
    }
    client = NotebookClient(
        found, timeout=_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return found


def notebook_page(found: nbformat.NotebookNode, name: str) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, and its pictures by their file names."""
    from nbconvert import MarkdownExporter

    for cell in found.cells:
        # What a bar drew cannot be seen on a page, and the line it leaves says nothing.
        outputs = [o for o in cell.get("outputs", []) if _is_seen(o)]
        if "outputs" in cell:
            cell["outputs"] = outputs
    text, resources = MarkdownExporter().from_notebook_node(
        found, resources={"unique_key": name, "output_files_dir": name}
    )
    title, _, rest = text.lstrip().partition("\n")
    return f"{title}\n\n[The notebook]({name}.ipynb)\n{rest}", resources["outputs"]


def _is_seen(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    return "application/vnd.jupyter.widget-view+json" not in data and data.get("text/plain") != ""


def results_page() -> str:
    """Published figures, with rows of ours beside them where `docs/leaderboard/` has some."""
    papers = published()
    parts = [
        "# Published results\n",
        "Read in papers; `fewshot-leaderboard show --published` puts your rows beside them. This page is made "
        "from `data_manifests/published/results.csv`.\n",
    ]
    for board in sorted((ROOT / "docs" / "leaderboard").glob("*.csv")):
        try:
            frame = read(board)
            lines = beside(frame.assign(row=frame.index + 1), papers)
        except FewshotError:
            # A table that is no leaderboard.
            continue
        if len(lines):
            parts += [f"## Beside ours: {board.stem}\n", markdown_table(_beside(lines))]
    for data, group in papers.groupby("data", sort=True):
        shown = group.assign(
            accuracy=[accuracy_text(a, s) for a, s in zip(group["accuracy"], group["spread"], strict=True)]
        )
        names = [
            "split",
            "way",
            "shot",
            "method",
            "backbone",
            "training",
            "transductive",
            "imbalance",
            "accuracy",
            "source",
        ]
        parts += [f"## {data}\n", markdown_table(shown[names])]
    return "\n".join(parts)


def _beside(lines):
    question = lines["data"] + " " + lines["way"] + "-way " + lines["shot"] + "-shot"
    return lines.assign(
        question=question,
        published=[accuracy_text(*pair) for pair in zip(lines["accuracy"], lines["spread"], strict=True)],
        ours=[accuracy_text(*pair) for pair in zip(lines["our_accuracy"], lines["our_ci95"], strict=True)],
        difference=lines["difference"].map("{:+.2f}".format),
        agrees=lines["agrees"].map({True: "yes", False: "no"}),
    )[["question", "method", "training", "published", "ours", "difference", "agrees", "source"]]


def make_pages(docs: Path, run: bool = True) -> list[Path]:
    """Write all computed pages into `docs`; those of notebooks anew only where a notebook or the package has changed."""
    made = [docs / "results.md"]
    write_text(made[0], results_page())
    code = hashlib.sha256(b"".join(p.read_bytes() for p in sorted((ROOT / "fewshot").rglob("*.py")))).hexdigest()
    for notebook in sorted((docs / "notebooks").glob("*.ipynb")):
        page = notebook.with_suffix(".md")
        stamp = f"<!-- {hashlib.sha256(notebook.read_bytes()).hexdigest()[:16]} {code[:16]} {'run' if run else 'not run'} -->"
        if page.is_file() and stamp in page.read_text(encoding="utf-8"):
            continue
        if run:
            with tempfile.TemporaryDirectory() as folder:
                found = run_notebook(notebook, Path(folder))
        else:
            found = nbformat.read(notebook, as_version=4)
        text, pictures = notebook_page(found, notebook.stem)
        for name, content in pictures.items():
            path = notebook.parent / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        write_text(page, f"{text}\n{stamp}\n")
        made.append(page)
    return made


def on_pre_build(config) -> None:
    """Called by mkdocs before it looks for pages."""
    make_pages(Path(config.docs_dir), os.environ.get("FEWSHOT_RUN_NOTEBOOKS", "1") != "0")


if __name__ == "__main__":
    for path in make_pages(ROOT / "docs", os.environ.get("FEWSHOT_RUN_NOTEBOOKS", "1") != "0"):
        print(path)
