"""The fuzzer: damaged input for everything that is read. ``python -m bench.fuzz --help``."""

from .folders import complaint, mutate, sound

__all__ = ["complaint", "mutate", "sound"]
