#!/bin/bash
# All stages on one GPU machine: text, tokenizer, packing, brook, GGUF, evaluation, rill.
#   run.sh smoke|brook|polish|rill CHAT_DIR WORK_DIR OUT_DIR     (CHAT_DIR holds chat-*.jsonl.xz, and tokenizer.json if it is trained already)
# smoke: every stage at tiny size, then 20 s of brook at full size for tokens/s. Times as run stand in README.md.
set -euo pipefail
mode=$1; chat=$(realpath "$2"); work=$(realpath -m "$3"); out=$(realpath -m "$4"); here=$(cd "$(dirname "$0")" && pwd)
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=true TORCHINDUCTOR_CACHE_DIR=$work/inductor
mkdir -p "$work" "$out"; cd "$here"; t0=$SECONDS
say() { echo "== $((SECONDS - t0)) s: $*"; }
prepare() { # SCALE
  python3 filter.py "$work/chat.jsonl" "$work"/raw/chat-*.jsonl; python3 dialogues.py "$1" "$work/templates.jsonl"; say text
  if [ -f "$chat/tokenizer.json" ]; then cp "$chat/tokenizer.json" "$work/"; else python3 tokenizer.py "$work/tokenizer.json" "$work/chat.jsonl" "$work/templates.jsonl"; fi; say tokenizer
  python3 pack.py "$work/tokenizer.json" "$work/packed" "$work/chat.jsonl" "$work/templates.jsonl"; python3 heldout.py "$work/heldout.jsonl.gz" "$work/chat.jsonl" "$work/templates.jsonl"; python3 polish.py --draw "$work/chat.jsonl" "$work/prompts.jsonl.gz"; say packed
}
unpack() { mkdir -p "$work/raw"; for f in "$chat"/chat-*.jsonl.xz; do python3 -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"), 1 << 22)' "$f" "$work/raw/$(basename "$f" .xz)" & done; wait; say unpacked; }
case $mode in
smoke)
  unpack; prepare 1
  python3 train.py tiny "$work/packed" "$work" --steps 60 --batch 16384 --no-compile; say tiny trained
  python3 export.py "$work/tiny.pt" "$work/tokenizer.json" "$work/tiny.gguf"
  python3 evaluate.py "$work/tiny.gguf" "$work/heldout.jsonl.gz" "$out/tiny.report.json" --weights "$work/tiny.pt" --draft "$work/tiny.gguf" --limit 64 || echo FAILED; say evaluated
  python3 sample.py "$work/tiny.gguf" "$work/sampled.jsonl" --rows 256 --length 256 --seconds 5 && python3 filter.py "$work/again.jsonl" "$work/sampled.jsonl" || echo FAILED; cp "$work/tokenizer.json" "$out/"; say sampled
  python3 train.py brook "$work/packed" "$work" --steps ${STEPS:-200}; say measured ;;
brook)
  [ -f "$work/packed/train.ids" ] || { unpack; prepare 1; }
  python3 train.py brook "$work/packed" "$work" --seconds "${SECONDS_BROOK:-430}"; say brook trained
  python3 export.py "$work/brook.pt" "$work/tokenizer.json" "$work/brook-q8_0.gguf"; cp "$work/tokenizer.json" "$work/heldout.jsonl.gz" "$work/brook.log.json" "$out/"; split -b 15M "$work/brook-q8_0.gguf" "$out/brook-q8_0.gguf."
  python3 evaluate.py "$work/brook-q8_0.gguf" "$work/heldout.jsonl.gz" "$out/brook.report.json" --weights "$work/brook.pt" || true; say evaluated ;;
polish)
  python3 polish.py "$work/brook-q8_0.gguf" "$work/prompts.jsonl.gz" "$work/polished.pt" --rounds "${ROUNDS:-3}" --steps "${STEPS:-85}" --lr 1e-4; say polished
  python3 export.py "$work/polished.pt" "$work/tokenizer.json" "$work/polished.gguf"; python3 blend.py "$work/brook-q8_0.gguf" "$work/polished.gguf" 0.75 "$work/final.pt"
  python3 export.py "$work/final.pt" "$work/tokenizer.json" "$work/final.gguf"; split -b 15M "$work/final.gguf" "$out/final.gguf."
  python3 evaluate.py "$work/final.gguf" "$work/heldout.jsonl.gz" "$out/final.report.json" --weights "$work/final.pt"; say evaluated ;;
rill)
  [ -f "$work/packed/train.ids" ] || { unpack; prepare 1; }
  [ -f "$work/brook-q8_0.gguf" ] || cp "$chat/brook-q8_0.gguf" "$work/"
  python3 train.py rill "$work/packed" "$work" --teacher "$work/brook-q8_0.gguf" --seconds "${SECONDS_RILL:-200}" --lr "${LR_RILL:-0.02}" --lr-emb "${LR_EMB_RILL:-4e-3}"; say rill trained
  python3 export.py "$work/rill.pt" "$work/tokenizer.json" "$out/rill-q8_0.gguf"; cp "$work/rill.log.json" "$out/"
  python3 evaluate.py "$out/rill-q8_0.gguf" "$work/heldout.jsonl.gz" "$out/rill.report.json" --weights "$work/rill.pt" || true
  python3 evaluate.py "$work/brook-q8_0.gguf" "$work/heldout.jsonl.gz" "$out/brook.draft.json" --draft "$out/rill-q8_0.gguf" || true; say evaluated ;;
esac
