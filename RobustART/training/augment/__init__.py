"""What is done to an image before a model learns from it."""
