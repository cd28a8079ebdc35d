"""Results as HTML, for notebooks."""

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def facts(title: str, known: Mapping[str, object]) -> str:
    """A table of names and values under a title; every text is escaped, values that are None are left out.

    Args:
        title: of the table.
        known: values by name, in their order.
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in known.items()
        if value is not None
    )
    return f"<div><strong>{html.escape(title)}</strong><table><tbody>{rows}</tbody></table></div>"


def headed(title: str, frame: "pd.DataFrame", remark: str = "") -> str:
    """A data frame under a headline, with a remark below; every text is escaped.

    Args:
        title: the headline.
        frame: what is shown, without its index.
        remark: a line below it.
    """
    table = frame.to_html(index=False, border=0, na_rep="", justify="left")
    below = f"<p><small>{html.escape(remark)}</small></p>" if remark else ""
    return f"<div><strong>{html.escape(title)}</strong>{table}{below}</div>"
