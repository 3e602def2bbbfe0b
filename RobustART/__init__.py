"""RobustART: how robust is an image classifier, and why? Imports nothing, so that it costs nothing."""

__version__ = "1.0.0.dev0"
