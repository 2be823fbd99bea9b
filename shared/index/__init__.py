"""The index: the shapes of its documents, and the one way by which they are committed."""
