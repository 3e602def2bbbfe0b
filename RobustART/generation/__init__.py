"""Generates noisy data sets as files in their published layouts."""
