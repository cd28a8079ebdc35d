"""A number of a head that training may change, or leaves alone."""

from torch import Tensor, nn


def keep_number(module: nn.Module, name: str, value: Tensor, learned: bool) -> None:
    """Give a module a number: as a parameter, or as it is and not with the weights, so that a test may ask for another value."""
    if learned:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value, persistent=False)
