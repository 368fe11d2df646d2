"""transformers: its own files, quantisers and names."""

from .model import Transformers

LOADER = Transformers()
