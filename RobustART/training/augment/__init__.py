"""Transforms of training images."""
