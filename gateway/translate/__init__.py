"""Pictures and texts to tensors, tensors to answers: pure functions; only the tokenizers are read from files."""
