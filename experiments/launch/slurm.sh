#!/usr/bin/env bash
# One process on each node, all its devices. SLURM tells the processes of each other; two
# minutes before the time limit it sends SIGTERM, the run saves, and sending the job again
# with --resume goes on. The run directory must be on a file system that all nodes see.
#
#     sbatch --nodes 4 experiments/launch/slurm.sh backdoor --preset paper --out runs/paper
#
#SBATCH --job-name fl-jax
#SBATCH --ntasks-per-node 1
#SBATCH --exclusive
#SBATCH --signal TERM@120
#SBATCH --output %x-%j.log
#SBATCH --open-mode append
set -euo pipefail

export FL_JAX_DISTRIBUTED=auto
exec srun --kill-on-bad-exit=1 "${PYTHON:-.venv/bin/python}" -m experiments "$@"
