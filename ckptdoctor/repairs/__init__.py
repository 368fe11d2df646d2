"""What would make a defect good: pure functions from a checkpoint and a hit to edits. No I/O, no words, no ids.

A card names its repair as it names its check: ``fix: {edits: bnb.declare}`` is the function ``declare`` of
``ckptdoctor/repairs/bnb.py``. One that yields nothing knows no repair for this case; whether the edits help is
verified afterwards, on an overlay, before anything is written.
"""
