"""Extended query tags: attributes that a tenant has made searchable."""
