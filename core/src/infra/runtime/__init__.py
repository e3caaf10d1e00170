"""The few things that differ between tasks and threads, written twice by hand with the same names on both sides.

``infra.runtime.aio`` serves the hand-written ``_async.py`` files, ``infra.runtime.threads`` their generated ``_sync.py`` twins. What is
the same for both stands directly in this folder.
"""
