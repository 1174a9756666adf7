"""Registries: each is a folder of pure functions and data."""
