#!/bin/sh
# Build one virtual environment in which ckptdoctor/probe/workers/vllm.py runs on a CPU: about 3.6 GB, minutes.
#
#   tests/observe/setup_vllm.sh DIRECTORY VLLM_VERSION [PLUGIN_VERSION]
#   tests/observe/setup_vllm.sh envs/vllm032 0.32.0           bitsandbytes from the plug-in that fits (vLLM >= 0.28)
#   tests/observe/setup_vllm.sh envs/vllm027 0.27.1           bitsandbytes in the core (vLLM <= 0.27.1)
#
# Then, for each:  python -m tests.observe.record vllm --python envs/vllm032/bin/python
set -eu
if [ $# -lt 2 ]; then
  sed -n '2,6p' "$0" >&2
  exit 2
fi
exec "${PYTHON:-python3}" -m ckptdoctor env --make "$1" --for "vllm==$2${3:+,vllm-bnb-plugin==$3}" --device cpu
