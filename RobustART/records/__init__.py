"""Result files: the interface between the engine, which needs a model, and the metrics, which need only these files."""
