"""A backbone as blocks, one after the other, between which one may step in."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class Staged(nn.Module):
    """A backbone that can be run up to a block and from there on.

    A subclass has `blocks`, in their order, and `pooled`, which makes features of the last block's map. Level 0 is the images
    and level l the map behind the l-th block.
    """

    blocks: Sequence[nn.Module]

    def pooled(self, last: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """The last map to features."""
        raise NotImplementedError(f"{type(self).__name__} must define pooled")

    @property
    def levels(self) -> int:
        """The last level: how many blocks there are."""
        return len(self.blocks)

    def stages(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n d _ _"]]:
        """The maps behind each block."""
        maps = []
        for block in self.blocks:
            images = block(images)
            maps.append(images)
        return maps

    def forward_to(self, level: int, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n ..."]:
        """The map at a level, 0 to `levels`; at 0 the images as they are."""
        for block in self.blocks[:level]:
            images = block(images)
        return images

    def forward_from(self, level: int, hidden: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """The features of maps at a level: `forward_from(l, forward_to(l, x))` is `forward(x)`."""
        for block in self.blocks[level:]:
            hidden = block(hidden)
        return self.pooled(hidden)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.forward_from(0, images)
