#!/bin/bash
# Runs run.sh MODE… one after another in the background of a lent machine; `go.sh wait MODE SECONDS` waits for one and collects it.
#   go.sh start CHAT_DIR WORK_DIR MODE…      go.sh wait WORK_DIR MODE SECONDS OUT_DIR
here=$(cd "$(dirname "$0")" && pwd)
if [ "$1" = start ]; then
  chat=$2 work=$3; shift 3; mkdir -p "$work"; cp -r "$here" "$work/recipe"; cp -r "$chat" "$work/carried"
  setsid nohup bash -c 'work=$0; for m in "$@"; do bash "$work/recipe/run.sh" $m "$work/carried" "$work" "$work/out-$m" > "$work/$m.out" 2>&1; echo $? > "$work/$m.done"; done' "$work" "$@" > /dev/null 2>&1 &
else
  for ((i = 0; i < $4; i++)); do [ -f "$2/$3.done" ] && break; sleep 1; done
  cp -r "$2/out-$3/." "$5/" 2> /dev/null; cp "$2/$3.out" "$5/$3.log"; grep -v Warning "$2/$3.out" | cut -c1-300 | tail -40; cat "$2/$3.done" 2> /dev/null || echo "not done"
fi
