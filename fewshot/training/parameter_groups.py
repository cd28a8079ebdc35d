"""Parts of a learner that train at rates of their own."""

from torch import nn

from fewshot.errors import FewshotError
from fewshot.learners.learner import Learner


def parameter_groups(learner: Learner, rates: dict[str, float] | None) -> dict[float, list[nn.Parameter]]:
    """What is trained, by the factor on its learning rate.

    Raises:
        FewshotError: a rate of a part that has no weights.
    """
    rates = rates or {}
    unused, groups = set(rates), {}
    for name, parameter in learner.named_parameters():
        parts = [part for part in rates if f"{name}.".startswith(f"{part}.")]
        unused -= set(parts)
        if parameter.requires_grad:
            groups.setdefault(float(rates[max(parts, key=len)]) if parts else 1.0, []).append(parameter)
    if unused:
        names = sorted({name.partition(".")[0] for name, _ in learner.named_parameters()})
        raise FewshotError(
            f"training.rates names {min(unused)}, of which there are no weights; expected {', '.join(names)}"
        )
    return groups
