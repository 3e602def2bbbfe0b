"""What every other room needs and that knows none of them: options, files, seeds, processes, images."""
