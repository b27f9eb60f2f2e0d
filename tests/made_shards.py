"""Shards made one document after the other."""

import numpy as np


def write_document(writer, ids, mask=None):
    """Append one document, its end included; return where it begins in the split."""
    offset = writer.num_tokens
    mask = None if mask is None else np.array(mask, dtype=np.uint8)
    writer.write(np.array(ids, dtype=np.uint32), np.array([len(ids)]), mask)
    return offset
