"""Benchmarks and the fuzzer; nothing here is packaged."""
