"""PEFT: an adapter by itself, or put on its base."""

from .model import Peft

LOADER = Peft()
