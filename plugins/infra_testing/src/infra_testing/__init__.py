"""What tests of plugins and hosts need: conformance suites, harnesses, service launchers, a fault proxy, fixtures."""
