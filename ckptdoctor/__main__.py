"""``python -m ckptdoctor``."""

import sys

from .cli import main

sys.exit(main())
