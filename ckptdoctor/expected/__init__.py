"""What a class of models needs, by name and shape, and how that compares with what is stored."""
