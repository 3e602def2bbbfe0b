"""``python -m RobustART.cli`` is the command ``robustart``."""

import sys

from RobustART.cli.parser import main

sys.exit(main())
