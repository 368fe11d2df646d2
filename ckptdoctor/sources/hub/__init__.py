"""A checkpoint on the Hugging Face Hub, read without downloading it: names, one commit's listing, byte ranges.

Only ``names`` is imported without need; the rest wants huggingface_hub (the extra ``hub``).
"""
