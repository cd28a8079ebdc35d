#!/usr/bin/env bash
# All heads and the combinations of SuSana Distancia's losses on Omniglot, trained the same way, in one leaderboard.
# Conv-4, 5-way 1-shot 15-query, 3000 episodes each; an hour or two on one core. `sh scripts/reproduce/omniglot_parts.sh FOLDER`
set -eu
out=${1:-runs/omniglot-parts}
episodes=${EPISODES:-3000}
common="data=omniglot schedule=cosine episodes.train.episodes=$episodes training.validate_every=1000 training.patience=null
  trainer.threads=${THREADS:-1} output=$out leaderboard=$out/leaderboard.csv"

# part NAME OVERRIDE...: train, test 5-way 1-shot, then the same weights on the other three tests.
part() {
  name=$1
  shift
  # Eight letters of the configuration's hash, so that no longer name is taken for this one.
  if ls "$out/$name"-????????/row.json >/dev/null 2>&1; then return; fi
  fewshot $common name="$name" "$@"
  for test in "5 5" "20 1" "20 5"; do
    way=${test% *} shot=${test#* }
    fewshot mode=test checkpoint="$(ls -d "$out/$name"-????????/best.safetensors)" episodes.test.way="$way" episodes.test.shot="$shot" \
      name="test-$name-${way}w${shot}s" output="$out" leaderboard="$out/leaderboard.csv" trainer.threads="${THREADS:-1}"
  done
}

part prototype head=prototype
part susana-ce-pt-icnn head=prototype loss=susana
part susana-ce-pt head=prototype loss=susana '~loss.terms.icnn'
part susana-ce-icnn head=prototype loss=susana '~loss.terms.proto_triplet'
part susana-pt-icnn head=prototype loss=susana '~loss.terms.cross_entropy'
part matching head=matching head.scale=10
part matching-context head=matching head.scale=10 head.context_steps=5
part ridge head=ridge
part feat head=feat head.temperature=8 head.regulariser_temperature=8
part cosine head=prototype head.distance=cosine head.temperature=0.1 head.learn_temperature=true
part snr head=prototype head.distance=snr
part mahalanobis head=prototype head.distance=mahalanobis head.rank=16
part relation head=relation loss=mean_squared_error backbone.poolings=2
part multi-scale pooling=multi_scale head=multi_scale

# Heads that train no backbone score the features that Prototypical Networks learned.
fewshot mode=test checkpoint="$(ls -d "$out"/prototype-????????/best.safetensors)" name=prototype-features unbalanced=null \
  heads='[logistic,finetune,{head: finetune, classifier: cosine},nearest_centroid,{head: nearest_centroid, transform: l2n},soft_kmeans]' \
  output="$out" leaderboard="$out/leaderboard.csv" trainer.threads="${THREADS:-1}"
