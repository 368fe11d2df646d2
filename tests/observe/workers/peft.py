"""Put adapters on their base with PEFT on the CPU and say what became of them.

    python tests/observe/workers/peft.py < cases.jsonl

The worker for transformers does just that where a case has a base; this one is that worker in PEFT's name.
"""

from __future__ import annotations

import serve

serve.free_sys_path()

from tests.observe.workers import transformers as worker  # noqa: E402

if __name__ == "__main__":
    worker.torch.set_num_threads(1)
    versions = worker.versions()
    serve.serve({"peft": versions.pop("peft"), **versions}, "cpu", worker.observe)
