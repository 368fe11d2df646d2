"""From hits to findings and verdicts: ``causes`` folds, ``outcomes`` decides, ``words`` fills in, ``verdicts`` sums."""
