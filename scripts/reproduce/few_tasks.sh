#!/usr/bin/env bash
# Few tasks with and without MLTI and IBI, the same budget, three seeds: Omniglot with 20 base classes, mini-ImageNet-S (12) with Conv-4-32.
# `bash scripts/reproduce/few_tasks.sh FOLDER`. DATA, SEEDS, SHOTS, EPISODES and ARMS choose less; runs that are there already are not made
# again, and one that was cut off goes on. Prints the paired differences at the end.
set -eu
out=${1:-runs/few-tasks}
read -ra seeds <<<"${SEEDS:-0 1 2}"
read -ra shots <<<"${SHOTS:-1 5}"
read -ra arms <<<"${ARMS:-plain mlti ibi rotation}"

options() {
  case $1 in
    plain) ;;
    mlti) echo "task_augmentation=mlti" ;;
    ibi) echo "task_augmentation=interval_bounds" ;;
    rotation) echo "task_augmentation=class_rotation" ;;
    maml) echo "learner=maml learner.first_order=true" ;;
    maml-mlti) echo "learner=maml learner.first_order=true task_augmentation=mlti" ;;
    *) echo "unknown arm $1; expected plain, mlti, ibi, rotation, maml or maml-mlti" >&2 && exit 1 ;;
  esac
}

for data in ${DATA:-omniglot mini_imagenet}; do
  case $data in
    omniglot) few="data=omniglot data.base_classes=20" episodes=${EPISODES:-8000} ;;
    mini_imagenet) few="data=mini_imagenet data.base_classes=mini_imagenet_s" episodes=${EPISODES:-20000} ;;
  esac
  for shot in "${shots[@]}"; do
    folder=$out/$data-${shot}s
    for arm in "${arms[@]}"; do
      for seed in "${seeds[@]}"; do
        # The options are words of their own.
        # shellcheck disable=SC2046,SC2086
        fewshot $few backbone.width=32 episodes.train.episodes="$episodes" episodes.{train,test}.shot="$shot" \
          training.tasks_per_step=4 training.validate_every=0 training.checkpoint_every=$((episodes / 4)) schedule=constant \
          seed="$seed" name="$arm-s$seed" output="$folder" leaderboard="$folder/leaderboard.csv" resume=true \
          trainer.threads="${THREADS:-1}" $(options "$arm")
      done
    done
    echo "$data, 5-way $shot-shot, $episodes episodes"
    python "$(dirname "$0")/paired_seeds.py" "$folder" "${arms[@]}"
  done
done
