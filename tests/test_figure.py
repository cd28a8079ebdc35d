"""Figures that a notebook shows by themselves, and files of them."""

import pytest

from fewshot.figure import ShownFigure


def test_a_notebook_gets_a_picture_without_pyplot():
    figure = ShownFigure(figsize=(2, 1))
    figure.subplots().plot([1, 2])
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    # Width and height stand in the header, 100 dots an inch.
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (200, 100)


def test_a_picture_is_written_whole_or_not_at_all(tmp_path):
    figure = ShownFigure()
    figure.save(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    with pytest.raises(ValueError, match="doc"):
        figure.save(tmp_path / "a.doc")
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]
