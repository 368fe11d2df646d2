"""MLX: bits and group in ``quantization`` of config.json, and tables by the names of modules that differ."""

from __future__ import annotations

from ..checkpoint.nouns import Declared
from .base import Format, Said, number


class Mlx(Format):
    """MLX."""

    def said(self, declared: Declared) -> Said:
        """``nn.quantize`` of mlx-lm: settings for all, and for those that are named."""
        block = declared.block
        if declared.pointer != "/quantization" and "group_size" not in block:
            return Said()
        return Said(
            number(block.get("bits")),
            number(block.get("group_size")),
            format=str(block.get("mode", "affine")),
            varies=any(isinstance(value, dict) for value in block.values()),
        )


FORMAT = Mlx
