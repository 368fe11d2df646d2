"""Where the fixtures lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
SOUND = FIXTURES / "sound"
BROKEN = FIXTURES / "broken"
OBSERVED = FIXTURES / "observed"
OBSERVED_FIXED = FIXTURES / "observed-fixed"
