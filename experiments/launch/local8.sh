#!/usr/bin/env bash
# Eight virtual CPU devices on this machine: the whole of a multi-device run but its speed.
#
#     experiments/launch/local8.sh backdoor --preset smoke
set -euo pipefail
cd "$(dirname "$0")/../.."

export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=8
exec "${PYTHON:-.venv/bin/python}" -m experiments "$@"
