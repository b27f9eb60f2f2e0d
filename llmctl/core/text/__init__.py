"""Strings → strings. No disk, no tensors."""
