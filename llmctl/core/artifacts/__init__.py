"""Bytes: one file = one format, reader and writer."""
