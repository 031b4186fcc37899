"""Everything of the Now page: data, layout, verdict."""
