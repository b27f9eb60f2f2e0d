"""Strings ↔ ids."""
