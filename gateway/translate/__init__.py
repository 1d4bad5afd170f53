"""Pictures to tensors and tensors to answers: pure functions over bytes and arrays, no I/O."""
