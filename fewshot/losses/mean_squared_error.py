"""Squared error of scores against one-hot labels."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from fewshot.episodes.episodes import Episodes
from fewshot.losses.loss_value import LossValue


class MeanSquaredError(nn.Module):
    """The mean of `(score - [c = y])^2` over all queries and classes.

    Source: Sung et al. 2018, equation 2; for heads whose scores lie in 0..1.
    """

    # Of the tasks it looks at the labels of queries alone.
    reads_support = False

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Scores `[B, Q, N]` of a batch of tasks to a scalar."""
        value = mse_loss(logits, one_hot(episodes.query_labels, episodes.way).to(logits.dtype))
        return LossValue(value, {"mean_squared_error": value.detach()})
