#!/bin/sh
# Builds kernels.cpp for this processor with a plain C++ compiler and runs it; arguments go through (see there).
set -e
root=$(cd "$(dirname "$0")/../.." && pwd)
isa=${MILLRACE_ISA:-}
if [ -z "$isa" ]; then
  if grep -qs amx_int8 /proc/cpuinfo; then isa=avx512amx
  elif grep -qs avx512_vnni /proc/cpuinfo; then isa=avx512vnni
  elif grep -qs avx_vnni /proc/cpuinfo; then isa=avxvnni
  elif grep -qs avx2 /proc/cpuinfo; then isa=avx2
  elif [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then isa=neon
  else isa=scalar; fi
fi
avx2="-march=x86-64-v2 -mavx2 -mfma -mf16c -mbmi2"
avx512="$avx2 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mprefer-vector-width=512"
case $isa in
  avx2) flags=$avx2 ;;
  avxvnni) flags="$avx2 -mavxvnni" ;;
  avx512vnni) flags=$avx512 ;;
  avx512amx) flags="$avx512 -mamx-tile -mamx-int8" ;;
  neon) flags="-march=armv8.2-a+dotprod+fp16" ;;
  *) flags="" ;;
esac
out=${TMPDIR:-/tmp}/millrace-bench-kernels-$isa
cd "$root/native/cpu"
# shellcheck disable=SC2086
${CXX:-g++} -std=c++20 -O2 -ffp-contract=off -fno-math-errno -pthread $flags "-DMILLRACE_ISA=$isa" -I. \
  ../../bench/kernels/kernels.cpp isa/linear.cpp isa/linear-int.cpp isa/linear-wide.cpp isa/linear-tiles.cpp isa/linear-float.cpp isa/quantize.cpp isa/probe.cpp pack.cpp pack-general.cpp iq-grids.cpp sabotage.cpp os.cpp -o "$out"
echo "$isa: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -1)"
exec "$out" "$@"
