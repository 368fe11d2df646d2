"""Plan, verify, commit, undo: how a checkpoint is repaired without ever being left half repaired."""
