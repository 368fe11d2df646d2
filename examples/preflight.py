"""Before a server starts: a tenth of a second that saves the minutes until vLLM would fail on the weights."""

from __future__ import annotations

import os
import sys

import ckptdoctor

try:
    ckptdoctor.check(sys.argv[1], targets=["vllm==0.32.0,vllm-bnb-plugin==0.0.3"]).raise_for("vllm")
except (ckptdoctor.CheckpointError, OSError) as error:
    sys.exit(f"not starting: {error}")
if sys.argv[2:]:
    os.execvp(sys.argv[2], sys.argv[2:])
