"""The 2021 project: its YAML, result files and names of weights, translated into ours."""
