"""Build script; everything is declared in pyproject.toml and requirements.txt."""

from setuptools import setup

setup()
