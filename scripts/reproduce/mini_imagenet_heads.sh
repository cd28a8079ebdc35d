#!/usr/bin/env bash
# All heads on the features of one checkpoint, 1 and 5 shots, 10,000 episodes, balanced and uneven, in one leaderboard; 5 hours on one core.
# The options were selected on validation classes (docs/reproduction.md), for each shot its own.
# `bash scripts/reproduce/mini_imagenet_heads.sh runs/NAME/best.safetensors [LEADERBOARD]`; SHOTS=1 runs one of the two.
set -eu
checkpoint=${1:?give the weights, as runs/NAME/best.safetensors}
for shot in ${SHOTS:-1 5}; do
  if [ "$shot" = 1 ]; then
    laplacian=0.8; means=0.7; modes=0.3; alpha=0.8; sigma=0.005; balance=0.5; scale=10.0
  else
    laplacian=0.5; means=0.1; modes=0.05; alpha=0.5; sigma=0.01; balance=0.75; scale=5.0
  fi
  quick="[own,{head: nearest_centroid, transform: l2n},{head: nearest_centroid, transform: un},{head: prototype, distance: cosine},
{head: matching, scale: 10.0},ridge,{head: ridge, features: l2n, regularisation: 1.0},bd_cspn,{head: soft_kmeans, features: cl2n},
{head: laplacian_shot, weight: $laplacian},{head: slk, weight: $means},{head: slk, centres: modes, weight: $modes},
{head: label_propagation, features: cl2n, alpha: $alpha, sigma: $sigma, self_loops: false},{head: tim, temperature: 10.0}]"
  slow="[{head: prototype_adaptation, features: cl2n, scale: $scale},pt_map,{head: pt_map, balance: $balance},
{head: alpha_tim, alpha: 1.0},logistic,finetune,{head: finetune, classifier: cosine}]"
  for heads in "$quick" "$slow"; do
    fewshot mode=test checkpoint="$checkpoint" heads="$(echo "$heads" | tr -d '\n')" episodes.test.shot="$shot" \
      episodes.test.episodes=10000 name="heads-${shot}s" leaderboard="${2:-heads.csv}" trainer.threads="${THREADS:-1}"
  done
done
