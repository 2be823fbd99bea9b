"""The triggers: each translates a request or message into one use case and back."""
