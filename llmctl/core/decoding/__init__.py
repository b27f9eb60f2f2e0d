"""Logits → next ids."""
