#!/usr/bin/env bash
# Few tasks with and without MLTI, IBI and turned classes, the same budget, three seeds: Omniglot with 20 base classes, mini-ImageNet-S (12),
# both with Conv-4 of width 32. `bash scripts/reproduce/few_tasks.sh FOLDER`. DATA, SEEDS, SHOTS, EPISODES and ARMS choose less or other,
# OPTIONS has more overrides for all;
# what is there already is not made again, and a run that was cut off goes on. Prints the paired differences at the end of each.
set -eu
out=${1:-runs/few-tasks}
read -ra seeds <<<"${SEEDS:-0 1 2}"
read -ra shots <<<"${SHOTS:-1 5}"
read -ra more <<<"${OPTIONS:-}"
read -ra arms <<<"${ARMS:-plain mlti ibi rotation}"

for data in ${DATA:-omniglot mini_imagenet}; do
  case $data in
    omniglot) few=(data=omniglot data.base_classes=20) episodes=${EPISODES:-8000} ;;
    mini_imagenet) few=(data=mini_imagenet data.base_classes=mini_imagenet_s) episodes=${EPISODES:-20000} ;;
    *) echo "unknown data $data; expected omniglot or mini_imagenet" >&2 && exit 1 ;;
  esac
  for shot in "${shots[@]}"; do
    folder=$out/$data-${shot}s
    for arm in "${arms[@]}"; do
      case $arm in
        plain) options=() ;;
        mlti) options=(task_augmentation=mlti) ;;
        ibi) options=(task_augmentation=interval_bounds) ;;
        rotation) options=(task_augmentation=class_rotation) ;;
        maml) options=(learner=maml learner.first_order=true) ;;
        maml-mlti) options=(learner=maml learner.first_order=true task_augmentation=mlti) ;;
        *) echo "unknown arm $arm; expected plain, mlti, ibi, rotation, maml or maml-mlti" >&2 && exit 1 ;;
      esac
      for seed in "${seeds[@]}"; do
        fewshot "${few[@]}" "${options[@]}" "${more[@]}" backbone.width=32 schedule=constant seed="$seed" name="$arm" resume=true \
          episodes.train.episodes="$episodes" episodes.train.shot="$shot" episodes.test.shot="$shot" \
          training.tasks_per_step=4 training.validate_every=0 training.checkpoint_every=$((episodes / 4)) \
          output="$folder" leaderboard="$folder/leaderboard.csv" trainer.threads="${THREADS:-1}"
      done
    done
    echo "$data, 5-way $shot-shot, $episodes episodes"
    # Rows of one name are seeds of one method.
    [ ${#arms[@]} -lt 2 ] || fewshot-leaderboard compare --csv "$folder/leaderboard.csv" "${arms[@]}"
  done
done
