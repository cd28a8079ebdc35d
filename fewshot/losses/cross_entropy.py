"""Cross-entropy of the queries."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue


class CrossEntropy(nn.Module):
    """Mean negative log-probability of the right class over all queries of all tasks.

    A head that returns log-probabilities is scored correctly too: softmax leaves them as they are.

    Args:
        label_smoothing: share of the target spread evenly over the classes, 0 to 1.

    Raises:
        FewshotError: a share outside 0 to 1.

    Source: Snell et al. 2017, section 2.2 (the learning objective).
    """

    # Of the tasks it looks at the labels of queries alone.
    reads_support = False

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise FewshotError(f"loss.label_smoothing={label_smoothing}; expected 0 to 1")
        self.label_smoothing = label_smoothing

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks and their logits `[B, Q, N]` to a scalar."""
        value = cross_entropy(
            logits.flatten(0, 1), episodes.query_labels.flatten(), label_smoothing=self.label_smoothing
        )
        return LossValue(value, {"cross_entropy": value.detach()})
