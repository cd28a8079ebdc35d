#!/usr/bin/env bash
# All heads on the features of one checkpoint, 1 and 5 shots, balanced and uneven, in one leaderboard; 20 minutes on one core.
# `sh scripts/reproduce/mini_imagenet_heads.sh runs/NAME/best.safetensors [LEADERBOARD]`
set -eu
checkpoint=$1
heads='[own,{head: nearest_centroid, transform: l2n},{head: nearest_centroid, transform: un},{head: prototype, distance: cosine},
{head: matching, scale: 10.0},ridge,{head: ridge, features: l2n, regularisation: 1.0},logistic,finetune,
{head: finetune, classifier: cosine},bd_cspn,laplacian_shot,slk,{head: slk, centres: modes},{head: soft_kmeans, features: cl2n},tim,pt_map,
{head: pt_map, balance: 0.0},{head: prototype_adaptation, features: cl2n},{head: label_propagation, features: cl2n, sigma: 0.01}]'
for shot in 1 5; do
  fewshot mode=test checkpoint="$checkpoint" heads="$(echo "$heads" | tr -d '\n')" episodes.test.shot=$shot episodes.test.episodes=1000 \
    name="heads-${shot}s" leaderboard="${2:-heads.csv}" trainer.threads="${THREADS:-1}"
done
