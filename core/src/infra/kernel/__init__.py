"""The kernel: hook specifications, discovery, configuration, resolution, life cycle, health, explanation.

It does no I/O until a resource is opened and holds no global state: two kernels can live in one process.
"""
