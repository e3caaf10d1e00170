"""The suite for queues."""
