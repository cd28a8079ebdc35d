#!/usr/bin/env bash
# Zero-shot on CUB by three heads, with shots beside attributes, and seen and unseen classes together: `sh scripts/reproduce/cub_zero_shot.sh
# INIT FOLDER OVERRIDE...`. INIT is what efficientnet_lite_weights.py writes; overrides choose the data, such as data.edition=2010.
set -eu
init=$1 out=$2
shift 2
where="output=$out leaderboard=$out/leaderboard.csv trainer.threads=${THREADS:-1}"
fewshot experiment=cub/zero_shot init="$init" name=zero-shot $where "$@"
best=$(ls -d "$out"/zero-shot-????????/best.safetensors)
again() {
  mode=$1
  shift
  fewshot mode="$mode" checkpoint="$best" $where "$@"
}
# Penalties and what attributes are worth beside shots, on validation classes.
again tune head=eszsl name=eszsl 'tune={signed: [true,false], feature_penalty: [1.0,10.0,100.0,1000.0], attribute_penalty: [0.01,0.1,1.0,10.0]}'
again tune head=attribute_regression name=regression
for shot in 1 5; do
  again tune name="prior-$shot" episodes.val.way=5 episodes.val.query=15 episodes.val.episodes=500 episodes.val.shot=$shot \
    'tune={prior_shots: [0.0,0.3,1.0,3.0,10.0,30.0]}'
done
