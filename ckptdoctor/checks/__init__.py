"""Checks: generators of hits, one file per family. No words, no ids, no I/O."""
