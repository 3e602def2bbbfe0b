"""The configuration: its schema, and the strict reader of YAML files."""
