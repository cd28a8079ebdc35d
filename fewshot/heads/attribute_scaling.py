"""What is done to the attributes of classes before a head sees them."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from fewshot.errors import FewshotError

SCALINGS = ("raw", "percent", "unit", "binary")


def check_scaling(scaling: str) -> None:
    """Raise a FewshotError unless `scaled_attributes` knows it."""
    if scaling not in SCALINGS:
        raise FewshotError(f"head.scaling={scaling}; expected one of {', '.join(SCALINGS)}")


def check_sizes(feature_size: int | None, attribute_size: int | None, name: str) -> tuple[int, int]:
    """Both sizes, which must be known to a head of this name.

    Raises:
        FewshotError: the data says nothing of its classes, or the backbone nothing of its features.
    """
    if attribute_size is None:
        raise FewshotError(
            f"head={name} knows classes by their attributes, and this data has none; use data that has them, such as data=cub"
        )
    if feature_size is None:
        raise FewshotError(f"head={name} needs a backbone of known size")
    return feature_size, attribute_size


def scaled_attributes(attributes: Float[Tensor, "*b a"], scaling: str) -> Float[Tensor, "*b a"]:
    """Attributes of classes in one of the ways that are common.

    - `raw`: as they are.
    - `percent`: of the people who saw them, divided by 100 (CUB's table goes from 0 to 100).
    - `unit`: each class's to unit length.
    - `binary`: 1 where at least 50 percent saw it, else 0.
    """
    if scaling == "percent":
        return attributes / 100
    if scaling == "unit":
        return normalize(attributes, dim=-1)
    if scaling == "binary":
        return (attributes >= 50).to(attributes.dtype)
    return attributes
