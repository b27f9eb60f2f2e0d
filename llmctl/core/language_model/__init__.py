"""A Transformer and its tokenizer as one thing."""
