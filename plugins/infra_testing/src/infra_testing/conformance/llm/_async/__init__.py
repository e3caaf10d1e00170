"""The suite, written by hand for asyncio; its blocking twin is generated."""
