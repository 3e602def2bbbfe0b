"""RobustART, a robustness benchmark for image classifiers. This module imports nothing, so it loads at once."""

__version__ = "1.0.0.dev0"
