"""Observed behaviour: cases made from real checkpoints, run in real loaders, kept as records."""
