"""Defaults of settings that several rooms declare."""

BATCH_SIZE = 64
"""Number of images in a forward pass of an evaluation."""
