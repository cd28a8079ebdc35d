"""`OwnAttributes`: what a data set itself tells of its classes."""

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError


class OwnAttributes:
    """Leaves a bank the attributes of its data set, and insists that there are some."""

    def described(self, bank: Bank) -> Bank:
        """The bank itself.

        Raises:
            FewshotError: it has no attributes.
        """
        if bank.class_attributes is None:
            raise FewshotError(
                f"{bank.name}/{bank.split} comes without attributes of its classes; use data=cub, or semantics=text_minilm for "
                f"class names"
            )
        return bank
