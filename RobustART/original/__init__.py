"""The 2021 project: translates its configuration files, and reads its result files and its names of weights."""
