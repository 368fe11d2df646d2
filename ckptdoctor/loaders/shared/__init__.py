"""What the models of several loaders have in common."""
