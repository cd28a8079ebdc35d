"""Tables for notebooks: what is shown is what was given, and no text becomes HTML."""

import pandas as pd

from fewshot import html_tables

NASTY = "<script>alert(1)</script> & 'x'"


def test_names_and_values_are_shown_and_what_is_none_is_not(cells):
    text = html_tables.facts("A title", {"classes": 3, NASTY: NASTY, "absent": None})
    (table,) = cells(text)
    assert table == [["classes", "3"], [NASTY, NASTY]]
    assert "<script>" not in text


def test_a_frame_is_shown_as_it_is(cells):
    frame = pd.DataFrame({"a": [NASTY, "b"], "number": [1.5, None]})
    text = html_tables.headed(NASTY, frame, NASTY)
    assert cells(text) == [[["a", "number"], [NASTY, "1.5"], ["b", ""]]]
    assert "<script>" not in text
    assert text.count("alert(1)") == 3
