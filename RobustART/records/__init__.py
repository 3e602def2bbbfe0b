"""Result files: the border between the engine, which needs a model, and the metrics, which need only these."""
