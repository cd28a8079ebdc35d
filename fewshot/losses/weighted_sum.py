"""Several losses, added up with weights."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue, as_loss_value


class WeightedSum(nn.Module):
    """`sum_i w_i L_i`, or their mean `sum_i w_i L_i / m`.

    Args:
        terms: the losses by name.
        weights: of each; 1 for those not named.
        average: divide by the number of terms, as SuSana's code does.

    Raises:
        FewshotError: no terms, or a weight of no term.
    """

    def __init__(
        self, terms: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None, average: bool = False
    ):
        super().__init__()
        weights = dict(weights or {})
        if not terms:
            raise FewshotError(
                "loss.terms is empty; expected losses with weights such as {cross_entropy: 1, icnn: 0.5}"
            )
        unknown = sorted(set(weights) - set(terms))
        if unknown:
            raise FewshotError(f"loss.weights names {unknown[0]}, which is none of the terms {', '.join(terms)}")
        self.terms = nn.ModuleDict(terms)
        self.weights = {name: float(weights.get(name, 1.0)) for name in terms}
        self.average = average

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks and their logits to a scalar; parts are those of the terms, unweighted."""
        values = {name: as_loss_value(term(episodes, logits), term) for name, term in self.terms.items()}
        total = sum(self.weights[name] * value.total for name, value in values.items())
        parts: dict[str, Tensor] = {}
        for name, value in values.items():
            for part, number in value.parts.items():
                # Two terms of one kind have parts of one name.
                parts[f"{name}_{part}" if part in parts else part] = number
        return LossValue(total / len(values) if self.average else total, parts)
