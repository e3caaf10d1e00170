"""The conformance suites, one a capability; each exists for asyncio and, generated, for blocking providers."""
