"""The version of this package, which setup.py, exported folders and the package itself read."""

VERSION = "0.2.0"
