"""Quantisation formats: what a block says of the weights, how a module is laid out, what is left alone.

A format is ``rules/formats/<name>.yaml``, all that is only names and numbers, and, unless it is recognised only,
``<name>.py`` here (a ``-`` becomes ``_``) with a class called ``FORMAT``. `registry` finds the one of a checkpoint and
imports no other.
"""
