"""Raw documents → judged units → corpus: where text rules meet files. No tensors."""
