"""How much memory a checkpoint takes in a loader, before anything is loaded.

``weights.weights(ckpt, reading, device=…) -> nouns.Weights``: bytes of weights on one device: ``total``, ``by_scheme``
(scheme id → bytes), ``as_16bit`` (what the same weights take in bfloat16) and, where ``total`` is None, the reason in
``unknown``. ``ckpt`` and ``reading`` are what the engine works with; with a path and a target at hand,
``asking.ask(source, target, rulebook)`` returns both.

Where something cannot be known this room says so; it never guesses a number that it calls exact.
"""
