"""Documents in, passages out: reading, chunking, storing, indexing and searching."""
