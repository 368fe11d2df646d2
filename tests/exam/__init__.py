"""An exam for the verdicts: tiny models of many architectures, damaged in many ways, and what real loaders did.

``python -m tests.exam.run --python VENV/bin/python`` builds the models with the real transformers, lets it load every
damaged one and records what became of it in ``fixtures/exam``; ``python -m tests.exam.score`` asks us and compares.
"""
