#!/usr/bin/env bash
# Zero-shot on CUB by three heads, shots beside attributes, seen and unseen classes together: `sh scripts/reproduce/cub_zero_shot.sh INIT
# FOLDER OVERRIDE...`. INIT is what efficientnet_lite_weights.py writes; overrides choose the data, such as data.edition=2010. What is
# there already is not made again.
set -eu
init=${1:?give INIT, what efficientnet_lite_weights.py writes} out=${2:?give FOLDER, where results go}
shift 2
where="output=$out leaderboard=$out/leaderboard.csv trainer.threads=${THREADS:-1}"
ls "$out"/zero-shot-????????/row.json >/dev/null 2>&1 ||
  fewshot experiment=cub/zero_shot init="$init" name=zero-shot $where "$@"
best=$(ls -d "$out"/zero-shot-????????/best.safetensors)

# again PREFIX NAME MODE OVERRIDE...: a command with those weights, whose folder begins with PREFIX and NAME.
again() {
  prefix=$1 name=$2 mode=$3
  shift 3
  ls -d "$out/$prefix$name"-????????/ >/dev/null 2>&1 && return
  fewshot mode="$mode" checkpoint="$best" name="$name" $where "$@"
}
# What was chosen, as options of a head: {key: value, ...} without its brackets, or key=value each.
chosen() {
  python -c "import json, sys; values = json.load(open(sys.argv[1]))['values']; print(sys.argv[3].join(f'{sys.argv[2]}{k}{sys.argv[4]}{json.dumps(v)}' for k, v in values.items()))" \
    "$(ls "$out/tune-$1"-????????/tuned.json)" "$2" "$3" "$4"
}
five="episodes.test.way=5 episodes.test.query=15"

# Penalties, and what attributes are worth beside shots, on validation classes.
again tune- eszsl tune head=eszsl \
  'tune={signed: [true,false], feature_penalty: [100.0,1000.0,10000.0,100000.0], attribute_penalty: [0.1,1.0,10.0]}'
again tune- regression tune head=attribute_regression 'tune={penalty: [10.0,100.0,1000.0,10000.0,100000.0]}'
for shot in 1 5; do
  # Behind F items are far longer than prototypes of attributes, so their length is chosen too.
  again tune- "prior-$shot" tune episodes.val.way=5 episodes.val.query=15 episodes.val.episodes=500 episodes.val.shot=$shot \
    'tune={scale: [1.0,3.0,10.0,30.0], prior_shots: [0.3,1.0,3.0,10.0,30.0]}'
done

heads="[own,{head: eszsl, $(chosen eszsl '' ', ' ': ')},{head: attribute_regression, $(chosen regression '' ', ' ': ')}]"
again '' zero-50 test "heads=$heads"
again '' zero-5 test $five "heads=$heads"
for shot in 1 5; do
  again '' "mixed-$shot" test $five episodes.test.shot=$shot $(chosen "prior-$shot" +head. ' ' =) \
    'heads=[own,prototype,{head: prototype, features: l2n}]'
  again '' "alone-$shot" test $five episodes.test.shot=$shot +head.prior_shots=0.0
done

again generalised- own generalised
again generalised- eszsl generalised head=eszsl $(chosen eszsl head. ' ' =)
again generalised- regression generalised head=attribute_regression $(chosen regression head. ' ' =)
for shot in 1 5; do
  again generalised- "mixed-$shot" generalised episodes.test.shot=$shot $(chosen "prior-$shot" +head. ' ' =)
  again generalised- "alone-$shot" generalised episodes.test.shot=$shot +head.prior_shots=0.0
done
python "$(dirname "$0")/shuffled_attributes.py" "$best" --way 50 5 --episodes 50
