"""tokenize: corpora and tokenizers joined; above the rooms, below the stages."""
