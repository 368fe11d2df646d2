"""The real test load: a loader of the user's, in a process of its own, and what it made of a checkpoint.

``process`` starts, feeds and ends that process, ``workers`` is what runs in it, ``verdict`` puts what it saw into the
words of `check`, ``loading`` holds that against the static verdict. Nothing but ``workers`` imports torch or a loader.
"""
