"""Storage schemes: told from a module's tensors, their shapes solved for sizes, bits and groups."""
