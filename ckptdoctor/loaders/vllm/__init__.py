"""What vLLM makes of a checkpoint."""
