"""Who may do what: tokens, roles, the table of functions, and the record of each access."""
