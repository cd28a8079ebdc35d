"""fewshot: episodic few-shot learning benchmarks whose numbers can be believed.

A bank holds images, a sampler draws tasks from it, a learner turns tasks into scores, an evaluation
turns scores into a leaderboard row.
"""

import importlib
import os

# Threads of a CPU wait for each other in a busy loop, those of GNU's OpenMP for some milliseconds; where other work wants the core, a waiting thread
# keeps it from the one that is waited for, and small steps take up to ten times as long. It reads this when torch is imported.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "5000"

__version__ = "0.1.0"

# Imported on first use: the leaderboard and `--help` must not wait for torch.
_PUBLIC = {
    "Bank": "fewshot.data.bank",
    "open_dataset": "fewshot.data.catalog",
    "dataset_names": "fewshot.data.catalog",
    "ImageFormat": "fewshot.data.image_format",
    "in_format": "fewshot.data.image_format",
    "Protocol": "fewshot.episodes.protocol",
    "Episodes": "fewshot.episodes.episodes",
    "EpisodeSampler": "fewshot.episodes.sampler",
    "Conv4": "fewshot.backbones.conv4",
    "ResNet12": "fewshot.backbones.resnet12",
    "ResNet18": "fewshot.backbones.resnet18",
    "WideResNet": "fewshot.backbones.wide_resnet",
    "open_head": "fewshot.heads.catalog",
    "check_head": "fewshot.heads.contract",
    "PrototypeHead": "fewshot.heads.prototype",
    "MatchingHead": "fewshot.heads.matching",
    "RelationHead": "fewshot.heads.relation",
    "NearestCentroidHead": "fewshot.heads.nearest_centroid",
    "RidgeHead": "fewshot.heads.ridge",
    "LogisticHead": "fewshot.heads.logistic",
    "FineTuneHead": "fewshot.heads.finetune",
    "LaplacianShotHead": "fewshot.heads.transductive.laplacian_shot",
    "SoftKMeansHead": "fewshot.heads.transductive.soft_kmeans",
    "BDCSPNHead": "fewshot.heads.transductive.bd_cspn",
    "LabelPropagationHead": "fewshot.heads.transductive.label_propagation",
    "TIMHead": "fewshot.heads.transductive.tim",
    "PTMAPHead": "fewshot.heads.transductive.pt_map",
    "CrossEntropy": "fewshot.losses.cross_entropy",
    "LossValue": "fewshot.losses.loss_value",
    "Learner": "fewshot.learners.learner",
    "TrainingLoss": "fewshot.learners.learner",
    "FeatureLearner": "fewshot.learners.feature_learner",
    "MetricLearner": "fewshot.learners.metric_learner",
    "open_learner": "fewshot.cli.run_weights",
    "TrainingSettings": "fewshot.training.settings",
    "Trainer": "fewshot.training.fabric",
    "meta_train": "fewshot.training.meta_train",
    "evaluate": "fewshot.evaluation.scoring",
    "Evaluation": "fewshot.evaluation.evaluation",
    "compare": "fewshot.evaluation.comparing",
    "embed_bank": "fewshot.evaluation.embedding",
    "draw_episode": "fewshot.evaluation.picture",
    "draw_class": "fewshot.evaluation.picture",
    "draw_embedding": "fewshot.evaluation.embedding_map",
    "Leaderboard": "fewshot.leaderboard.board",
    "FewshotError": "fewshot.errors",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'fewshot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
