"""Parts of `scripts/architectures.py`; they need torch and transformers, which ckptdoctor itself does not."""
