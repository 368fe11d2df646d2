"""LoRA adapters, by themselves and on their base: shared by the loaders that take them."""
