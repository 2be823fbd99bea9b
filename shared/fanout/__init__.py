"""Fan-out of the change feed: each entry goes to a tenant's subscribers."""
