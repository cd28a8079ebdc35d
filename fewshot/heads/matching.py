"""The attention head of Matching Networks (Vinyals et al., 2016)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot, softmax

from fewshot.distances.cosine import cosine_similarity
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError


class MatchingHead(nn.Module):
    """The class of a query is the attention-weighted sum of the support labels.

    `a(x, i) = softmax_i(scale * cos(x, s_i))` over the support, `p(c | x) = sum_i a(x, i) [y_i = c]`. Returns
    log-probabilities; cross-entropy of those is the paper's negative log-likelihood.

    With `context_steps` more than 0 features see the support set first (full context embeddings): support items
    through a bidirectional LSTM over the support in its order, with a skip connection; queries through an
    LSTM that reads the support by attention, that many steps. Predictions then depend on the order of the support,
    which the sampler fixes. The LSTM's input is the feature together with what was read; the paper puts
    what was read into the recurrent state instead.

    Args:
        scale: of the cosine; 1 is the paper's, 100 that of Chen et al. (2019).
        relu: cut negative cosines off, as Chen et al. do.
        context_steps: of the query's LSTM; 0 for no context.
        feature_size: of the backbone; needed with context.

    Raises:
        FewshotError: a scale that is not positive, or steps below 0.

    Source: Vinyals et al., Matching Networks for One Shot Learning, 2016, equations 1 to 6.
    """

    transductive = False

    def __init__(self, scale: float = 1.0, relu: bool = False, context_steps: int = 0, feature_size: int | None = None):
        super().__init__()
        if not scale > 0:
            raise FewshotError(f"head.scale={scale}; expected more than 0")
        if context_steps < 0 or (context_steps and feature_size is None):
            raise FewshotError(
                f"head.context_steps={context_steps}; expected at least 0, with a backbone of known size"
            )
        self.scale, self.relu, self.context_steps = scale, relu, context_steps
        if context_steps:
            self.support_lstm = nn.LSTM(feature_size, feature_size, bidirectional=True, batch_first=True)
            self.query_lstm = nn.LSTMCell(2 * feature_size, feature_size)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to log-probabilities `[B, Q, N]`."""
        support, query = episodes.support, episodes.query
        if self.context_steps:
            support = self.support_in_context(support)
            query = self.query_in_context(query, support)
        similarity = cosine_similarity(query, support)
        if self.relu:
            similarity = similarity.relu()
        attention = (self.scale * similarity).log_softmax(-1)
        member = one_hot(episodes.support_labels, episodes.way).transpose(1, 2).bool()
        return attention.unsqueeze(2).masked_fill(~member.unsqueeze(1), -torch.inf).logsumexp(-1)

    def support_in_context(self, support: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Equation 4 of the paper's appendix: the forward and the backward state, and the feature itself."""
        forward, backward = self.support_lstm(support)[0].chunk(2, dim=-1)
        return forward + backward + support

    def query_in_context(
        self, query: Float[Tensor, "b q d"], support: Float[Tensor, "b s d"]
    ) -> Float[Tensor, "b q d"]:
        """Equations 2 to 5 of the paper: attention over the support, read again at each step."""
        b, q, d = query.shape
        state, cell = query, query.new_zeros(b * q, d)
        for _ in range(self.context_steps):
            read = softmax(state @ support.transpose(1, 2), dim=-1) @ support
            joined = torch.cat([query, read], dim=-1).flatten(0, 1)
            hidden, cell = self.query_lstm(joined, (state.flatten(0, 1), cell))
            state = hidden.unflatten(0, (b, q)) + query
        return state
