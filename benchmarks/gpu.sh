#!/usr/bin/env bash
# Everything there is to measure on a GPU, as one table, in under ten minutes: see gpu.py.
#   benchmarks/gpu.sh [--peer-python FILE] [--help]
# PYTHON selects another interpreter than that of .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
if ! command -v "$python" >/dev/null; then
    echo "gpu.sh: no $python; run make venv, or name an interpreter with TensorFlow as PYTHON" >&2
    exit 2
fi
exec "$python" benchmarks/gpu.py "$@"
