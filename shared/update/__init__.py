"""Bulk update: other values of patient and study attributes, in every instance of a study."""
