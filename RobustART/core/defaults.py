"""Defaults of settings that several rooms declare."""

BATCH_SIZE = 64
"""Images in one forward pass of an evaluation."""
