"""A file system that crashes: what tests of commit and undo share."""
