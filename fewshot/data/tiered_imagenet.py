"""tieredImageNet (Ren et al. 2018), from the ImageNet training images."""

from dataclasses import replace

from fewshot.data.layouts import IMAGENET_FOLDERS, class_folders, first_folder, folder_name, origin_of
from fewshot.data.photo_set import Found, PhotoSet

_BASES = ("tiered-imagenet", "tiered_imagenet", "tieredImageNet")


class TieredImageNet(PhotoSet):
    """608 classes of ImageNet, 351 / 97 / 160 in train / val / test, of different superclasses.

    Reads `root/tiered-imagenet/{train,val,test}/<class>/*.jpg` or the ImageNet training images,
    `root/imagenet/train/<class>/*.JPEG`. All images of a class are used: 779,165 in all, which are made
    in pieces and never lie in memory together.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept; 16.5 GB at 84x84.
        split: `ren`, the published classes.
        pipeline: from files to pixels, by name.
        exclude_duplicates: leave out of train what is in val or test too, and out of val what is in test.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: an unknown choice.
    """

    name = "tiered_imagenet"

    def __init__(
        self,
        root="data/raw",
        prepared="data/prepared",
        split: str = "ren",
        pipeline: str = "ravi84",
        exclude_duplicates: bool = False,
        workers: int | None = None,
    ):
        super().__init__(root, prepared, split, pipeline, exclude_duplicates, workers)

    def find(self, split: str) -> Found | None:
        classes = self.classes(split)
        places = [f"{base}/{split}" for base in _BASES] + list(IMAGENET_FOLDERS)
        # Not one class alone: a damaged copy may lack just that one.
        base = next(
            (place for name in classes[:5] if (place := first_folder(self.root, places, folder_name(name)))), None
        )
        if base is None:
            return None
        # Published are the images of a split, not of a class.
        found = class_folders(base, classes, None)
        count, expected = len(found.photos), self.facts["images"][split]
        missing, wrong = list(found.missing), []
        if count < expected:
            missing.append(f"{expected - count} of {expected} images")
        elif count > expected:
            wrong.append(f"{count} images instead of {expected}")
        photos = replace(found.photos, origin=origin_of(found.photos))
        return replace(found, photos=photos, missing=missing, wrong=wrong)
