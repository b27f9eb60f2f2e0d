"""Numbers: perplexity, BLEU, ROUGE, intervals."""
