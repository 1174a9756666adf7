"""The world: everything that touches a disk, a socket, a clock or a log."""
