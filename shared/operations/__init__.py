"""Work that takes long: operations, their steps and what is told of them."""
