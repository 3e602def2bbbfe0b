"""Foundations of all other packages: options, files, seeds, processes, images."""
