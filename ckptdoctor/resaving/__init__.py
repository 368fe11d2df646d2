"""A checkpoint written anew into a directory of its own: plan, proof on an overlay, streamed copy. Never in place."""
