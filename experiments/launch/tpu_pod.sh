#!/usr/bin/env bash
# The same command on every host of a Cloud TPU slice, where this repository and its .venv
# (with the extra `tpu`) lie in ~/fl-jax. The run directory must be one that all hosts see.
#
#     TPU=my-slice ZONE=us-central2-b experiments/launch/tpu_pod.sh bloom --preset paper
set -euo pipefail

printf -v arguments ' %q' "$@"
exec gcloud compute tpus tpu-vm ssh "${TPU:?name of the slice}" --zone "${ZONE:?its zone}" \
  --worker all \
  --command "cd fl-jax && FL_JAX_DISTRIBUTED=auto .venv/bin/python -m experiments$arguments"
