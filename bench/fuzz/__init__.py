"""The fuzzer: damaged input for everything that is read. ``python -m bench.fuzz --help``."""
