"""The objectives of training."""
