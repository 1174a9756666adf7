"""Stand-in registries on loopback."""
