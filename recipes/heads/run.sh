#!/bin/bash
# Text, then all heads and rill, on one GPU machine:   run.sh PROMPTS.jsonl.gz QUESTIONS_DIR WORK OUT [SHARE]
# SHARE scales all times (1: about 9 minutes; 0.02: a smoke run). QUESTIONS_DIR holds spec-bench-dev.jsonl and vicuna-80.jsonl.
# Three processes share the GPU, so that one compiles while others train; what each gives back is written when it is done.
set -uo pipefail
prompts=$(realpath "$1"); questions=$(realpath "$2"); work=$(realpath -m "$3"); out=$(realpath -m "$4"); share=${5:-1}
here=$(cd "$(dirname "$0")" && pwd); builtin=$here/../../builtin; brook=$builtin/brook-q8_0.gguf
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=true TORCHINDUCTOR_CACHE_DIR=$work/inductor PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
mkdir -p "$work" "$out"; cd "$here"; t0=$SECONDS
seconds() { python3 -c "print(max(2, $1 * $share))"; }
say() { echo "== $((SECONDS - t0)) s: $*"; }
python3 data.py "$brook" "$questions/spec-bench-dev.jsonl" "$questions/vicuna-80.jsonl" "$here/../brook/heldout.jsonl.gz" "$work/held.npz" --held --seconds 20 &
python3 data.py "$brook" "$prompts" "$work/text.npz" --seconds "$(seconds 55)" || exit 1
wait; say text
train() { # HEAD SECONDS MORE...
  local head=$1 time=$2; shift 2
  python3 train.py "$head" "$brook" "$work/text.npz" "$work/held.npz" "$out" --seconds "$(seconds "$time")" "$@" 2>&1 | tee "$work/$head.log" || echo "FAILED $head"; say "$head"
}
(train eagle3 270; train pass 40) &
(train dflash 200; train eagle 90) &
(for d in ${DIVERGENCES:-forward reverse tvd jsd}; do train rill 35 --start "$builtin/rill-q8_0.gguf" --divergence $d --lr 0.006; done; train medusa 45; train mtp 65; train kangaroo 40) &
wait; say done
(cd "$out" && tar cf - ./*.npz | split -b 15M - heads.tar. && rm -f ./*.npz; cat ./*.json > reports.txt; rm -f ./*.json)
