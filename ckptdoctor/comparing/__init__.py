"""Two checkpoints side by side: tensors, schemes, JSON and files, folded, and in words what one is of the other."""
