"""Whether a bar can be drawn."""

import os


def is_screen(terminal: bool) -> bool:
    """Whether a terminal moves its cursor: that of `!fewshot` in a notebook's cell shows each step of a bar as a line more.

    Args:
        terminal: whether the output says that it is one.
    """
    # Set for each kernel, and so for what its cells start.
    return terminal and "JPY_PARENT_PID" not in os.environ
