"""Blueprints of classes that vLLM has and transformers lacks, off vLLM's own models."""
