"""mini-ImageNet (Vinyals et al. 2016) with the classes of Ravi and Larochelle (2017)."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

from fewshot.data.layouts import (
    IMAGENET_FOLDERS,
    class_folders,
    first_folder,
    folder_name,
    listed_files,
    mini_imagenet_cache,
    origin_of,
)
from fewshot.data.manifest import file_list
from fewshot.data.photo_set import Found, PhotoSet
from fewshot.data.photos import Photos
from fewshot.errors import FewshotError

_BASES = ("mini-imagenet", "miniimagenet", "mini_imagenet", "miniImageNet", ".")
LAYOUTS = ("pickles", "jpegs", "folders", "imagenet")


class MiniImageNet(PhotoSet):
    """100 classes of ImageNet with 600 images each, 64 / 16 / 20 in train / val / test.

    Reads, under `root` or `root/mini-imagenet`, the first of these layouts that is there:

    - `pickles`: `mini-imagenet-cache-{train,val,test}.pkl`;
    - `jpegs`: `images/n0153282900000005.jpg` and so on, the names of Ravi and Larochelle's CSVs;
    - `folders`: `{train,val,test}/<class>/*.jpg`, `images/<class>/*.jpg` or `<class>/*.jpg`;
    - `imagenet`: the ImageNet training images, `imagenet/train/<class>/<class>_<number>.JPEG`, of which
      the published list of ILSVRC names is taken.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept.
        split: `ravi`, the classes of Ravi and Larochelle.
        pipeline: from files to pixels, by name.
        layout: one of the above, or `auto`.
        exclude_duplicates: leave out of train what is in val or test too.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: an unknown choice.
    """

    name = "mini_imagenet"

    def __init__(
        self,
        root="data/raw",
        prepared="data/prepared",
        split: str = "ravi",
        pipeline: str = "ravi84",
        layout: str = "auto",
        exclude_duplicates: bool = False,
        workers: int | None = None,
    ):
        super().__init__(root, prepared, split, pipeline, exclude_duplicates, workers)
        if layout not in ("auto", *LAYOUTS):
            raise FewshotError(f"data.layout={layout}; expected auto, {', '.join(LAYOUTS)}")
        self.layout = layout

    def options(self) -> dict:
        return {"layout": self.layout}

    def find(self, split: str) -> Found | None:
        layouts = LAYOUTS if self.layout == "auto" else (self.layout,)
        return next((found for layout in layouts if (found := getattr(self, f"_{layout}")(split))), None)

    @cached_property
    def _base(self) -> list[Path]:
        return [self.root / name for name in _BASES if (self.root / name).is_dir()]

    def _pickles(self, split: str) -> Found | None:
        for base in self._base:
            if any(base.glob("mini-imagenet-cache-*.pkl")):
                path = base / f"mini-imagenet-cache-{split}.pkl"
                return mini_imagenet_cache(path, self.classes(split), self.facts["images_per_class"], 84)
        return None

    def _jpegs(self, split: str) -> Found | None:
        files = file_list(self.name, "files_ravi")
        for base in self._base:
            # Any class will do: one that is missing is to be named, not to hide the others.
            names = {path.name[:9] for path in (base / "images").glob("n*.jp*g")}
            if any(of_class[0][:9] in names for of_class in files.values()):
                classes = self.classes(split)
                found = listed_files(base / "images", classes, files, nested=False)
                return replace(found, photos=_marked(found))
        return None

    def _folders(self, split: str) -> Found | None:
        classes = self.classes(split)
        for base in self._base:
            for folder in (base / split, base / "images", base):
                if any((folder / folder_name(name)).is_dir() for name in classes) and not _is_imagenet(folder):
                    # Beside the class folders of this split may be those of the others.
                    known = [folder_name(name) for part in self.splits for name in self.classes(part)]
                    found = class_folders(folder, classes, self.facts["images_per_class"], known)
                    return replace(found, photos=_marked(found))
        return None

    def _imagenet(self, split: str) -> Found | None:
        classes = self.classes(split)
        bases = (first_folder(self.root, IMAGENET_FOLDERS, folder_name(name)) for name in classes)
        base = next((base for base in bases if base is not None), None)
        if base is None:
            return None
        found = listed_files(base, classes, file_list(self.name, "files_ilsvrc"), nested=True)
        # The other images of ImageNet are not extra: this data set is a choice of them.
        return replace(found, photos=replace(found.photos, origin="originals"), extra=[])


def _marked(found: Found) -> Photos:
    return replace(found.photos, origin=origin_of(found.photos))


def _is_imagenet(folder: Path) -> bool:
    """Whether this is the whole ImageNet, of which the classes have more images than the data set takes."""
    return (folder / "n01440764").is_dir()
