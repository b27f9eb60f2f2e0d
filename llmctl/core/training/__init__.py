"""Optimizers, schedules, batches: what one step of learning does."""
