"""The intake of a new release of a loader: ``python -m scripts.release PACKAGE VERSION``."""
