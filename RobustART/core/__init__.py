"""Foundations that every other room uses and that import none of them: options, files, seeds, processes, images."""
