"""huggingface_hub's local metadata call, which checks nothing."""

import sys

from huggingface_hub import get_local_safetensors_metadata

get_local_safetensors_metadata(sys.argv[1])
