"""What PEFT makes of an adapter."""
