#!/usr/bin/env bash
# Builds the launcher on gorgonia.org/cu (-tags cuda) against the headers of CUDA
# 12 and a stand-in for the driver, and runs both launchers' tests: they must do
# the same, and measure the same within 2 %. No GPU and no CUDA are needed.
set -euo pipefail
cd "$(dirname "$0")/.."

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/orrery-cuda/headers"
PACKAGE=nvidia-cuda-runtime-cu12==12.9.79
if [ "$(cat "$CACHE/.installed" 2>/dev/null)" != "$PACKAGE" ]; then
  rm -rf "$CACHE"
  python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore --target "$CACHE" "$PACKAGE"
  echo "$PACKAGE" >"$CACHE/.installed"
fi

# The binding links every call of the driver that it knows; those that the
# stand-in lacks are left open, and fail when they are called.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gcc -O1 -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$work/libcuda.so.1" kernels/gpu/fakecuda/src/fakecuda.c -ldl
ln -s libcuda.so.1 "$work/libcuda.so"

export CGO_ENABLED=1 CGO_CFLAGS="-I$CACHE/nvidia/cuda_runtime/include -Wno-deprecated-declarations"
export CGO_LDFLAGS="-L$work -Wl,--unresolved-symbols=ignore-all -Wl,-z,lazy" CGO_LDFLAGS_ALLOW='-Wl,.*'
export LD_LIBRARY_PATH="$work" ORRERY_LIBCUDA="$work/libcuda.so.1"
go vet -tags cuda ./kernels/...
go test -tags cuda "$@" ./kernels/gpu ./kernels/measure
