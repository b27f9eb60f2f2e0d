"""Tensors → tensors: the Transformer and its parts."""
