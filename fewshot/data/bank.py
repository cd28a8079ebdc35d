"""`Bank`: all items of one split in one tensor, sorted by class."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewshot import html_tables
from fewshot.device import has_room
from fewshot.errors import FewshotError, check_kind


@dataclass(frozen=True, eq=False, repr=False)
class Bank:
    """The items of one split, on one device.

    Args:
        items: uint8 images `[n, c, h, w]` or float features `[n, d]`, sorted by class.
        labels: int64 `[n]`, ascending, the values `0..classes-1`, every class present.
        class_names: one name per class.
        class_attributes: optional float `[classes, a]`, one description per class.
        name: the data set's name, for rows and messages.
        split: the split's name.
        pipeline: the name of the way from files to pixels; numbers of different pipelines do not compare.
        mean: per channel mean of the pixels in 0..1, subtracted when images become floats.
        std: per channel standard deviation, divided by.
        attributes_name: what the attributes are, for rows.
        made_of: of features, the fingerprint of what they were made of: tests of banks that agree in it can be paired. Features that
            this package makes have that of their images; to `Bank.of` any text is given that is the same for the same items.

    Raises:
        FewshotError: the parts do not fit each other.
    """

    items: Tensor
    labels: Tensor
    class_names: Sequence[str]
    class_attributes: Tensor | None = None
    name: str = "bank"
    split: str = "all"
    pipeline: str = "none"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    attributes_name: str = "attributes of the data set"
    made_of: str = ""
    _known_fingerprint: str | None = field(default=None, repr=False)

    def __post_init__(self):
        object.__setattr__(self, "class_names", tuple(self.class_names))
        where = f"bank {self.name}/{self.split}"
        if self.items.ndim not in (2, 4) or len(self.items) == 0:
            raise FewshotError(
                f"{where}: items of shape {tuple(self.items.shape)}; expected [n, c, h, w] or [n, d], n > 0"
            )
        if self.items.ndim == 4 and self.items.dtype != torch.uint8:
            raise FewshotError(f"{where}: images of type {self.items.dtype}; expected uint8")
        if self.items.ndim == 2 and not self.items.is_floating_point():
            raise FewshotError(f"{where}: features of type {self.items.dtype}; expected floating point")
        if self.labels.shape != self.items.shape[:1] or self.labels.dtype != torch.int64:
            raise FewshotError(
                f"{where}: labels must be int64 [{len(self.items)}], got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        steps = self.labels.diff()
        if int(self.labels[0]) != 0 or bool(((steps != 0) & (steps != 1)).any()):
            raise FewshotError(f"{where}: labels must ascend from 0 without gaps; sort the items by class")
        if int(self.labels[-1]) + 1 != len(self.class_names):
            raise FewshotError(f"{where}: {len(self.class_names)} class names for {int(self.labels[-1]) + 1} classes")
        if self.class_attributes is not None:
            self._check_attributes(where)
        if self.is_images:
            channels = self.items.shape[1]
            for part in ("mean", "std"):
                value = (
                    tuple(float(v) for v in getattr(self, part)) or ((0.0,) if part == "mean" else (1.0,)) * channels
                )
                if len(value) != channels:
                    raise FewshotError(f"{where}: {part} has {len(value)} values for {channels} channels")
                object.__setattr__(self, part, value)

    def _check_attributes(self, where: str) -> None:
        known = self.class_attributes
        check_kind("class_attributes", known, Tensor, "a tensor [classes, a]")
        if known.ndim != 2 or not known.isfinite().all():
            raise FewshotError(
                f"{where}: attributes of shape {tuple(known.shape)}, or not all numbers; expected finite ones [classes, a]"
            )
        if len(known) != len(self.class_names):
            raise FewshotError(f"{where}: {len(known)} rows of attributes for {len(self.class_names)} classes")

    @classmethod
    def of(cls, items, labels, **about) -> "Bank":
        """A bank of items in any order, such as features that were made elsewhere.

        Args:
            items: numpy array or tensor `[n, d]` of features, which are kept in 32 bits, or `[n, c, h, w]` of 8-bit images.
            labels: `[n]`, one for each item: numbers or names, of which each that occurs is a class, in their sorted order;
                names that are whole numbers are sorted as numbers.
            about: of the other arguments of a bank; `class_names` and `class_attributes` have one entry for each class in that
                order, names being the labels by default.

        Raises:
            FewshotError: labels and items differ in number, a label is missing, or the parts do not fit each other.
        """
        labels = np.asarray(labels.detach().cpu() if isinstance(labels, Tensor) else labels)
        items = items.detach() if isinstance(items, Tensor) else np.asarray(items)
        if labels.ndim != 1 or items.ndim == 0 or len(labels) != len(items):
            raise FewshotError(
                f"bank: labels of shape {labels.shape} for items of shape {tuple(items.shape)}; expected one label for each item"
            )
        if items.ndim == 4 and items.shape[-1] in (1, 3) and items.shape[1] not in (1, 3):
            raise FewshotError(f"bank: images of shape {tuple(items.shape)}; expected [n, c, h, w], channels first")
        values, numbers = np.unique(_sortable(labels), return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        items = items[torch.from_numpy(order).to(items.device)] if isinstance(items, Tensor) else items[order]
        names, known = about.pop("class_names", None), about.pop("class_attributes", None)
        names = [str(name) for name in (values if names is None else names)]
        if len(set(names)) < len(names):
            raise FewshotError("bank: two classes have one name; class_names has a name of its own for each")
        items, numbers = torch.as_tensor(items), torch.from_numpy(numbers[order])
        items = items.float() if items.is_floating_point() else items
        if "made_of" in about:
            # Of the same items with the same labels.
            facts = [about["made_of"], names, numbers.tolist()]
            about["made_of"] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        if known is not None:
            known = torch.as_tensor(known, dtype=torch.float32, device=items.device)
        return cls(items, numbers.to(items.device), names, known, **about)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        what = "images" if self.is_images else "features"
        size = "x".join(map(str, self.items.shape[1:]))
        return (
            f"<Bank {self.name}/{self.split}: {len(self)} {what} ({size}) of {self.num_classes} classes, {self.device}>"
        )

    def _repr_html_(self) -> str:
        least, most = int(self.counts.min()), int(self.counts.max())
        some = ", ".join(self.class_names[:5]) + (", …" if self.num_classes > 5 else "")
        known = {
            "classes": f"{self.num_classes}: {some}",
            "images"
            if self.is_images
            else "features": f"{len(self)}, {least if least == most else f'{least} to {most}'} per class",
            "size": " x ".join(map(str, self.items.shape[1:])),
            "attributes": None if self.class_attributes is None else self.attributes_name,
            "pipeline": self.pipeline,
            "device": self.device,
            "fingerprint": self.fingerprint[:12],
        }
        return html_tables.facts(f"Bank {self.name}/{self.split}", known)

    @property
    def is_images(self) -> bool:
        """Whether the items are images (and not features)."""
        return self.items.ndim == 4

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        return self.items.device

    @cached_property
    def counts(self) -> Tensor:
        """Items per class, int64 `[classes]`, on the CPU."""
        return torch.bincount(self.labels.cpu(), minlength=self.num_classes)

    @cached_property
    def offsets(self) -> Tensor:
        """Index of the first item of each class, int64 `[classes]`, on the CPU."""
        return torch.cumsum(self.counts, 0) - self.counts

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of shape, type, items, labels and class names: equal content, equal fingerprint."""
        return self._known_fingerprint or content_fingerprint(self.items, self.labels, self.class_names)

    def to(self, device: torch.device | str) -> "Bank":
        """The same bank on `device`; itself if it is there already."""
        device = torch.device(device)
        if device == self.device:
            return self
        attributes = None if self.class_attributes is None else self.class_attributes.to(device)
        return self.replacing(
            items=self.items.to(device),
            labels=self.labels.to(device),
            class_attributes=attributes,
            _known_fingerprint=self.fingerprint,
        )

    def near(self, device: torch.device | str) -> "Bank":
        """The same bank on `device`, or, where that has too little free memory for it, as it is: tasks are then moved one by one.

        The random numbers of augmentations are made where the bank is.
        """
        device = torch.device(device)
        return self if self.device == device or not has_room(device, self.items.nbytes) else self.to(device)

    def with_features(self, features: Tensor) -> "Bank":
        """A bank of the same classes whose items are `features` `[n, d]`, on their device.

        Item i of the new bank is what a backbone made of item i of this one, so both give the same
        episodes for the same protocol.
        """
        source = self.made_of or self.fingerprint
        parts = {"labels": self.labels.to(features.device), "mean": (), "std": ()}
        if self.class_attributes is not None:
            parts["class_attributes"] = self.class_attributes.to(features.device)
        return self.replacing(items=features, made_of=source, _known_fingerprint=None, **parts)

    def without_attributes(self) -> "Bank":
        """The same bank with nothing said of its classes beside their names."""
        return self if self.class_attributes is None else self.replacing(class_attributes=None)

    def replacing(self, **changes) -> "Bank":
        """A copy with some parts replaced."""
        parts = {f: getattr(self, f) for f in self.__dataclass_fields__}
        return Bank(**(parts | changes))


def _sortable(labels: np.ndarray) -> np.ndarray:
    """Labels in a form whose order is that of their classes."""
    if labels.dtype.kind == "O":
        kinds = {type(label) for label in labels.tolist()}
        numbers = all(issubclass(kind, int | float | np.number) for kind in kinds)
        if not numbers and kinds != {str}:
            raise FewshotError(
                f"bank: labels of type {', '.join(sorted(kind.__name__ for kind in kinds))}; expected numbers alone or names alone"
            )
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise FewshotError(f"bank: {int(np.isnan(labels).sum())} labels are no number; leave such items out")
    if labels.dtype.kind == "U" and all(map(_is_number, np.unique(labels).tolist())):
        return labels.astype(np.int64)
    return labels


def _is_number(label: str) -> bool:
    return label.isdecimal() and len(label) < 19 and label == str(int(label))


def content_fingerprint(items: Tensor, labels: Tensor, class_names: Sequence[str]) -> str:
    """sha256 over a header (shape, type, names) and the raw bytes of items and labels."""
    items, labels = items.cpu().contiguous(), labels.cpu().contiguous()
    digest = fingerprint_header(items.shape, str(items.dtype), class_names)
    digest.update(memoryview(items.numpy()).cast("B"))
    digest.update(memoryview(labels.numpy()).cast("B"))
    return digest.hexdigest()


def fingerprint_header(shape: Sequence[int], dtype: str, class_names: Sequence[str]) -> "hashlib._Hash":
    """The start of a fingerprint, for those who add items and labels piece by piece."""
    header = {"shape": list(shape), "dtype": dtype, "class_names": list(class_names)}
    return hashlib.sha256(json.dumps(header, sort_keys=True, ensure_ascii=False).encode())
