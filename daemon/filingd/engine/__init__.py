"""The engine: asyncio, reaching the world through ports only."""
