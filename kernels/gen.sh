#!/usr/bin/env bash
# Compiles kernels/cuda/*.cu to PTX for sm_90a, which is committed and embedded:
#   kernels/gen.sh           writes kernels/cuda/ptx/*.ptx
#   kernels/gen.sh --check   fails if they are not what the sources give, if ptxas
#                            does not take them, or if a kernel spills registers
# The compiler comes from PyPI, at pinned versions. The PTX says .version 8.0,
# the lowest that has all its instructions, so that drivers from CUDA 12.0 on
# (525) take it; the oldest assembler of CUDA 12 shows that it does.
set -euo pipefail
cd "$(dirname "$0")/cuda"

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/orrery-cuda"
CUDA=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85)
OLDEST=(nvidia-cuda-nvcc-cu12==12.0.140)

install() { # FOLDER PACKAGE...
  local to="$CACHE/$1"
  shift
  [ "$(cat "$to/.installed" 2>/dev/null)" = "$*" ] && return
  rm -rf "$to"
  python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target "$to" "$@"
  find "$to" -path '*/bin/*' -type f -exec chmod +x {} +
  echo "$*" >"$to/.installed"
}

install cuda13 "${CUDA[@]}"
install cuda12.0 "${OLDEST[@]}"
nvcc="$CACHE/cuda13/nvidia/cu13/bin/nvcc"
ptxas=("$CACHE/cuda13/nvidia/cu13/bin/ptxas" "$CACHE/cuda12.0/nvidia/cuda_nvcc/bin/ptxas")
out=ptx
[ "${1:-}" = --check ] && out=$(mktemp -d)
mkdir -p "$out"

for source in *.cu; do
  name=${source%.cu}
  "$nvcc" -std=c++17 -O3 -arch=compute_90a -ptx -o "$out/$name.ptx.tmp" "$source"
  # without the lines that name the compiler's build
  sed -e 's/^\.version .*/.version 8.0/' -e '/^\/\//d' -e '/^[[:space:]]*\/\/ \.globl/d' "$out/$name.ptx.tmp" >"$out/$name.ptx"
  rm "$out/$name.ptx.tmp"
done
[ "${1:-}" = --check ] || exit 0

if ! diff -r ptx "$out"; then
  echo "kernels/cuda/ptx is not what the sources give: run kernels/gen.sh" >&2
  exit 1
fi
spills=0
printf '%-16s %-20s %9s %13s\n' file kernel registers 'spilled bytes'
for image in ptx/*.ptx; do
  for assembler in "${ptxas[@]}"; do
    "$assembler" -arch=sm_90a -v -o /dev/null "$image" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
  done
  # of the oldest assembler
  awk -v file="$(basename "$image" .ptx)" '
    /Compiling entry function/ {split($0, q, "\x27"); kernel = q[2]}
    /bytes spill stores/ {for (i = 1; i <= NF; i++) if ($i == "spill") sum[kernel] += $(i - 2)}
    /Used [0-9]+ registers/ {for (i = 1; i <= NF; i++) if ($i == "Used") regs[kernel] = $(i + 1)}
    END {for (k in regs) printf "%-16s %-20s %9d %13d\n", file, k, regs[k], sum[k]}' "$out/log" | sort | tee -a "$out/table"
done
spills=$(awk '{s += $4} END {print s + 0}' "$out/table")
[ "$spills" = 0 ] || { echo "kernels spill registers" >&2; exit 1; }
