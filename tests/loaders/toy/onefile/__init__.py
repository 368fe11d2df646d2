"""A loader made up for the tests: it opens ``model.safetensors``, and knows nothing of quantisation."""

from .model import OneFile

LOADER = OneFile()
