"""The change feed: every change of an instance, in order, once, for ever (spec change-feed.md)."""
